"""Get a reply as an object of your own type."""

import lmstudio as lms


class Person(lms.BaseModel):
    """What the reply has to look like."""

    name: str
    age: int


def main() -> None:
    """Extract a person from a sentence."""
    with lms.Client() as client:
        model = client.llm.model()
        prompt = "Extract the name and age as JSON: Nina is 31 years old."
        person = model.respond(prompt, response_format=Person, config={"temperature": 0.0}).parsed
        print(f"{person.name} is {person.age}")

        cut_off = model.respond(prompt, response_format=Person, config={"temperature": 0.0, "maxTokens": 5})
        try:
            print(cut_off.parsed)
        except lms.LMStudioStructuredOutputError as error:  # says why; the text is there in any case
            print(f"{error} {cut_off.content!r}")


if __name__ == "__main__":
    main()
