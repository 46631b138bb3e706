@runtime_checkable
class ModelSchema(Protocol):
    """What a class must have to be a response format."""

    @classmethod
    def model_json_schema(cls) -> DictSchema:
        """The JSON schema of the class."""
        ...
