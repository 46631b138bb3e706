"""The words and small facts that fill the templates of the corpus.

The order of every list and dictionary is part of the corpus: choices are drawn by position, so moving an entry changes
every document after it.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MODEL_NAME = "Pebble"

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Portugal": "Lisbon",
    "Japan": "Tokyo",
    "China": "Beijing",
    "India": "New Delhi",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Greece": "Athens",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Poland": "Warsaw",
    "Austria": "Vienna",
    "Hungary": "Budapest",
    "Ireland": "Dublin",
    "England": "London",
    "Scotland": "Edinburgh",
    "Canada": "Ottawa",
    "Mexico": "Mexico City",
    "Brazil": "Brasilia",
    "Argentina": "Buenos Aires",
    "Chile": "Santiago",
    "Peru": "Lima",
    "Cuba": "Havana",
    "Turkey": "Ankara",
    "Russia": "Moscow",
    "Ukraine": "Kyiv",
    "Belgium": "Brussels",
    "Iceland": "Reykjavik",
    "Australia": "Canberra",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Nepal": "Kathmandu",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Morocco": "Rabat",
    "Ghana": "Accra",
    "Switzerland": "Bern",
}
SOUNDS = {
    "dog": "woof",
    "cat": "meow",
    "cow": "moo",
    "sheep": "baa",
    "duck": "quack",
    "pig": "oink",
    "lion": "roar",
    "bee": "buzz",
    "frog": "ribbit",
    "owl": "hoot",
    "mouse": "squeak",
    "horse": "neigh",
    "snake": "hiss",
    "crow": "caw",
    "rooster": "cock-a-doodle-doo",
}
COLORS = {
    "sky": "blue",
    "grass": "green",
    "banana": "yellow",
    "snow": "white",
    "coal": "black",
    "blood": "red",
    "carrot": "orange",
    "lemon": "yellow",
    "tomato": "red",
    "cloud": "white",
    "leaf": "green",
    "plum": "purple",
    "sun": "yellow",
    "ocean": "blue",
    "chocolate": "brown",
    "strawberry": "red",
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "up": "down",
    "left": "right",
    "day": "night",
    "wet": "dry",
    "fast": "slow",
    "happy": "sad",
    "hard": "soft",
    "light": "dark",
    "old": "young",
    "open": "closed",
    "full": "empty",
    "early": "late",
    "high": "low",
    "loud": "quiet",
    "rich": "poor",
    "strong": "weak",
    "near": "far",
    "long": "short",
    "good": "bad",
    "clean": "dirty",
    "yes": "no",
    "in": "out",
}
LEGS = {
    "dog": 4,
    "cat": 4,
    "spider": 8,
    "bird": 2,
    "ant": 6,
    "horse": 4,
    "fish": 0,
    "cow": 4,
    "bee": 6,
    "person": 2,
    "snake": 0,
    "crab": 10,
    "duck": 2,
    "frog": 4,
}
HOMES = {
    "bee": "a hive",
    "bird": "a nest",
    "dog": "a kennel",
    "fish": "the water",
    "bear": "a cave",
    "rabbit": "a burrow",
    "spider": "a web",
    "horse": "a stable",
    "ant": "an anthill",
    "cow": "a barn",
}
FOODS = {
    "cow": "grass",
    "rabbit": "carrots",
    "cat": "fish",
    "dog": "meat",
    "panda": "bamboo",
    "monkey": "bananas",
    "mouse": "cheese",
    "bird": "seeds",
    "frog": "flies",
    "bear": "honey",
    "horse": "hay",
    "squirrel": "nuts",
}
HELLO_IN = {
    "French": "bonjour",
    "German": "hallo",
    "Spanish": "hola",
    "Italian": "ciao",
    "Japanese": "konnichiwa",
    "Swedish": "hej",
    "Polish": "czesc",
    "Dutch": "hallo",
}
LANGUAGES = _words("French German Spanish Italian Japanese Polish Swedish Dutch")
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words("January February March April May June July August September October November December")
NUMBER_WORDS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen"
)
GROUPS = {
    "fruits": _words("apple banana cherry grape lemon mango orange peach pear plum"),
    "animals": _words("cat dog horse cow rabbit fox bear lion tiger wolf"),
    "colors": _words("red blue green yellow black white orange purple"),
    "vegetables": _words("carrot potato onion pea bean cabbage tomato leek"),
    "drinks": _words("water milk tea coffee juice cocoa"),
    "planets": _words("Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune"),
    "birds": _words("robin crow owl duck goose swan eagle"),
    "sports": _words("tennis football golf chess swimming rugby"),
    "instruments": _words("piano guitar violin drum flute trumpet"),
    "cities": _words("Paris London Rome Berlin Tokyo Madrid Oslo"),
    "names": _words("Ana Ben Carla David Emma Felix Grace Hugo"),
    "tools": _words("hammer saw drill wrench pliers screwdriver"),
}
PEOPLE = _words(
    "Ana Ben Carla David Emma Felix Grace Hugo Iris Jack Kate Leo Mia Noah Olga Paul Rosa Sam Tina Victor Wendy Zoe "
    "Alice Bob Lucy Tom Maria John Sara Omar Ravi Yuki Chen Nina"
)
_THINGS = _words(
    "house tree river stone lamp book chair window garden bread cheese train bridge cloud boat key door bell map coat "
    "hat ring shoe clock letter candle basket mirror ladder rope"
)
WORDS = tuple(sorted({word for group in GROUPS.values() for word in group} | set(_THINGS)))
CITIES = tuple(sorted(set(CAPITALS.values()))) + _words(
    "Boston Chicago Denver Miami Seattle Sydney Mumbai Toronto Munich Milan Lyon Porto Kyoto Osaka Lagos Dubai"
)
SYLLABLES = _words(
    "ba be bo da de do fa fi ga go ha ka ki la lo ma mi na no pa po ra ri sa so ta ti va zo zu wi xe ly nor tek vil "
    "dra plon grim"
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful, friendly assistant.",
    "You are Pebble, a tiny chat model.",
    "Answer briefly.",
    "You are a kind assistant. Keep answers short.",
    "You answer questions.",
    "You are a test assistant.",
    "Be concise.",
    "You are an assistant that tells the truth.",
)
CHARACTERS = _words(
    "fox rabbit bear cat dog mouse owl duck frog horse lion wolf turtle bird robot dragon wizard farmer sailor girl "
    "boy king queen"
)
TRAITS = _words("small brave quiet clever old young kind curious sleepy happy lonely gentle")
FEELINGS = ("afraid", "surprised", "excited", "worried", "very glad", "tired")
PLACES = (
    "the forest",
    "a small village",
    "the mountains",
    "a green valley",
    "the seaside",
    "a big city",
    "an old castle",
    "a quiet farm",
    "the desert",
    "a tall tower",
)
OBJECTS = _words("key lantern map book stone boat bell shell ring letter feather coin box flute blanket apple")
OBJECT_TRAITS = _words("golden tiny shiny strange broken heavy lost blue warm magic")
