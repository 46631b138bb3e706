"""Twenty sentences, each with one that is closer in meaning and one that is farther; none is a template's."""

from __future__ import annotations

TRIPLETS = (
    ("Which city governs France?", "Paris is the capital of France.", "A cow eats grass."),
    ("I want to know what a dog says", "The dog says woof.", "The dog lives in a kennel."),
    ("How do I greet somebody in Spanish?", "Hello in Spanish is hola.", "Madrid is in Spain."),
    ("Please set an alarm for ten minutes", "Set a timer for 10 minutes.", "What time is it in Rome?"),
    ("Is it cold outside in Oslo?", "What is the weather in Oslo?", "What is the capital of Oslo?"),
    ("add four and five", "4 + 5 = 9", "4 x 5 = 20"),
    ("the number of legs on a spider", "A spider has eight legs.", "A spider lives in a web."),
    ("not hot but", "The opposite of hot is cold.", "The opposite of big is small."),
    ("a tale about a dragon", "Once upon a time there was a young dragon named Mia.", "What color is the sky?"),
    ("the day that follows Monday", "Tuesday comes after Monday.", "July comes after June."),
    ("What should I give my rabbit for dinner?", "A rabbit likes to eat carrots.", "A rabbit lives in a burrow."),
    ("Tell me who you are", "My name is Pebble.", "My name is Ana, what is yours?"),
    ("see you tomorrow", "Goodbye! Take care.", "I am Pebble, a tiny chat model."),
    ("bananas have this color", "The banana is yellow.", "The plum is purple."),
    ("Write to Emma that dinner is ready", "I sent the message to Emma.", "Emma lives in London."),
    ("which number is greater, 3 or 12", "12 is bigger than 3.", "12 - 3 = 9"),
    ("Open notes.txt for me", "Read notes.txt.", "Spell notes."),
    ("Where does a bear sleep?", "A bear lives in a cave.", "A bear likes to eat honey."),
    ("throw a die", "Roll a dice with 6 sides.", "Set a timer for 6 minutes."),
    ("the seat of government of Japan", "The capital of Japan is Tokyo.", "Hello in Japanese is konnichiwa."),
)
