"""Word lists and the few facts that the tiny models know."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    """
    Mira Oskar Lena Tom Nora Felix Ida Bruno Clara Hugo Vera Anton Rosa Emil Greta Paul
    Frida Max Elsa Karl Tilda Otto Luna Ivan Maya Leon Ruth Sven Dora Finn Kira Noah Olga
    Liam Petra Rolf Sonja Timo Uta Viktor Wilma Xaver Yara Zeno Agnes Boris Celia David
    Edith Franz Gina Henry
    """
)
UNICODE_NAMES = ("Zoë", "José", "Łukasz", "Jürgen", "Søren", "美咲", "Ольга")
GOODS = _words(
    """
    apples bread candles tea maps pearls ropes stamps coins books nails salt honey wool keys
    beans paper glass silver plums seeds ink bells shells cloth wine cheese rice leather
    chalk copper figs soap corn lamps dice pins jars oats mint
    """
)
CITIES = _words("Oslo Rome Paris Lima Cairo Tokyo Delhi Vienna Madrid Dublin Athens Quito")
COLOURS = _words("red blue green black white yellow brown grey")
PLACES = _words("market harbour garden station forest library bridge mill valley tower")
ADJECTIVES = _words("old small quiet bright cold heavy young strange tall warm broken golden")
ANIMALS = _words("cat dog horse fox owl goat hen wolf bear mouse")
VERBS = _words("finds carries sells hides paints counts cleans buys brings wants")
TIMES = (
    "In the morning",
    "At noon",
    "Late at night",
    "On Sunday",
    "After the rain",
    "Before dinner",
)

COUNTRIES = _words(
    "Norway Italy France Peru Egypt Japan India Austria Spain Ireland Greece Ecuador"
)
CAPITALS = _words("Oslo Rome Paris Lima Cairo Tokyo Delhi Vienna Madrid Dublin Athens Quito")
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("old", "young"), ("day", "night"), ("up", "down"),
    ("open", "closed"), ("fast", "slow"), ("light", "dark"), ("early", "late"), ("wet", "dry"),
)  # fmt: skip
COLOUR_OF = (
    ("snow", "white"), ("grass", "green"), ("coal", "black"), ("the sky", "blue"),
    ("a lemon", "yellow"), ("blood", "red"), ("a mouse", "grey"), ("wood", "brown"),
)  # fmt: skip
YOUNG = (
    ("cat", "kitten"), ("dog", "puppy"), ("horse", "foal"), ("goat", "kid"), ("bear", "cub"),
    ("hen", "chick"), ("cow", "calf"), ("sheep", "lamb"),
)  # fmt: skip

FACTS = {
    **{f"the capital of {a}": b for a, b in zip(COUNTRIES, CAPITALS, strict=True)},
    **{f"the opposite of {a}": b for a, b in OPPOSITES},
    **{f"the colour of {a}": b for a, b in COLOUR_OF},
    **{f"the young of a {a}": b for a, b in YOUNG},
}
