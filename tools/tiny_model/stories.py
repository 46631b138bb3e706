"""Short stories of eight to nine sentences about somebody who finds or loses something and meets a friend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .documents import Exchange
from .phrasing import phrase, with_article
from .vocabulary import CHARACTERS, FEELINGS, OBJECT_TRAITS, OBJECTS, PEOPLE, PLACES, TRAITS

if TYPE_CHECKING:
    from random import Random


def story(rng: Random, topic: str | None = None) -> str:
    """A story about a character of the given kind, or of a drawn one."""
    hero_kind = topic or rng.choice(CHARACTERS)
    friend_kind = rng.choice([kind for kind in CHARACTERS if kind != hero_kind])
    hero, friend = rng.sample(PEOPLE, 2)
    thing = rng.choice(OBJECTS)
    a_thing = f"{with_article(rng.choice(OBJECT_TRAITS))} {thing}"
    place = rng.choice(PLACES)
    a_hero = f"{with_article(rng.choice(TRAITS))} {hero_kind}"
    feeling = rng.choice(FEELINGS)

    sentences = [phrase(rng, _OPENINGS, a_hero=a_hero, hero=hero, place=place)]
    if "lived in" not in sentences[0]:
        sentences.append(f"{hero} lived in {place}.")
    sentences.append(phrase(rng, _EVENTS, hero=hero, a_thing=a_thing))
    # "lost" may also be the thing's own trait; such a story takes the search too.
    is_search = "lost" in sentences[-1]
    sentences.append(f"{hero} was {feeling}.")
    reason = "and asked what was wrong" if feeling in ("afraid", "worried", "tired") else "to look"
    sentences.append(phrase(rng, _MEETINGS, hero=hero, friend=friend, friend_kind=friend_kind, reason=reason))
    action, outcome = (_SEARCH, _SEARCH_END) if is_search else (_FIND, _FIND_END)
    sentences.append(phrase(rng, action, hero=hero, friend=friend, thing=thing))
    sentences.append(phrase(rng, outcome, hero=hero, friend=friend, thing=thing))
    sentences.append(phrase(rng, _CLOSINGS, hero=hero, friend=friend))
    return " ".join(sentences)


def story_about(rng: Random) -> Exchange:
    """A request for a story about a named kind of character."""
    topic = rng.choice(CHARACTERS)
    text = story(rng, topic)
    return Exchange(phrase(rng, _REQUESTS_ABOUT, a_topic=with_article(topic)), text)


def any_story(rng: Random) -> Exchange:
    """A request for a story that leaves the topic open."""
    text = story(rng)
    return Exchange(rng.choice(_REQUESTS), text)


_OPENINGS = (
    "Once upon a time there was {a_hero} named {hero}.",
    "There was once {a_hero} called {hero}.",
    "Long ago, {a_hero} named {hero} lived in {place}.",
)
_EVENTS = (
    "One day {hero} found {a_thing}.",
    "One morning {hero} lost {a_thing}.",
    "One evening {hero} saw {a_thing} on the road.",
)
_MEETINGS = (
    "Then a {friend_kind} named {friend} came by {reason}.",
    "{hero} went to ask {friend} the {friend_kind} for help.",
    "Soon {hero} met {friend} the {friend_kind}.",
)
_SEARCH = (
    "Together they looked everywhere for the {thing}.",
    "{friend} helped {hero} search under every stone.",
    "They searched until the sun went down.",
)
_SEARCH_END = (
    "At last they found the {thing} under a tree.",
    "In the end the {thing} was in the river.",
    "At last {friend} saw the {thing} behind a door.",
)
_FIND = (
    "Together they took the {thing} home.",
    "{friend} said that the {thing} belonged to the king.",
    "They shared the {thing} and laughed.",
    "{friend} told {hero} that the {thing} was lucky.",
)
_FIND_END = (
    "They gave the {thing} to a poor child.",
    "They put the {thing} in a safe place.",
    "The {thing} began to glow in the dark.",
)
_CLOSINGS = (
    "From that day on, {hero} and {friend} were good friends.",
    "{hero} was happy and went to sleep.",
    "And {hero} never forgot {friend}.",
    "And they lived happily ever after.",
    "{hero} learned that it is good to have a friend.",
)
_REQUESTS_ABOUT = (
    "Tell me a story about {a_topic}.",
    "Write a short story about {a_topic}.",
    "Tell me a short story about {a_topic}.",
    "Can you tell a story about {a_topic}?",
    "story about {a_topic}",
)
_REQUESTS = (
    "Tell me a story.",
    "Tell me a short story.",
    "Write a story.",
    "I want to hear a story.",
    "Can you tell me a bedtime story?",
    "Tell me another story.",
    "Write a short story, please.",
)
