from lmstudio import BaseModel


class BookSchema(BaseModel):
    title: str
    author: str
    year: int
