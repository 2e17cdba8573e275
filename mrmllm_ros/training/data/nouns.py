# SPDX-License-Identifier: Apache-2.0
"""What there is to see: kinds of scenes, the objects in each, and the grammar of their names.

Sizes are rough guesses of ours, good enough for made-up layouts. Some kinds and some nouns are
kept for evaluation: training never shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Split = Literal["train", "evaluation"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


COCO = _names(
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, "
    "elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, "
    "skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, "
    "apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, "
    "cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)

# One table for each kind: typical height as a share of the image's, width over height and the
# most of them in a scene, then the nouns of that shape, with a weight where it is not 1. Nouns of
# one row are those that a detector may take for each other. The number behind a kind's name is
# the distance in metres at which objects have their typical size.
_TRAIN_TABLES = {
    ("street", 8.0): """
        0.40 0.40 9 | person:14, man:2, woman:2, child, police officer, cyclist, pedestrian
        0.22 1.90 7 | car:10, taxi:2, van:2, pickup truck, police car
        0.42 1.60 3 | truck:3, bus:4, tram, ambulance, fire engine, garbage truck, train:0.4
        0.28 1.40 5 | bicycle:4, motorcycle:3, scooter:2, moped
        0.22 0.40 4 | traffic light:4, stop sign:2, street sign:2, billboard
        0.20 0.45 3 | fire hydrant:2, parking meter:2, traffic cone:2, bollard, mailbox, trash can
        0.55 0.25 4 | street lamp:2, flagpole, pillar
        0.14 0.80 4 | backpack:2, handbag:2, umbrella:2, skateboard
        0.18 1.80 2 | bench:2, barrier, dog:2, pram
        0.08 1.60 3 | bird, airplane:0.3, drone
    """,
    ("kitchen", 2.0): """
        0.70 0.40 4 | person:6, man, woman, chef
        0.60 0.55 2 | refrigerator:4, cupboard:2, dishwasher
        0.35 1.10 2 | oven:4, stove:2, sink:3, freezer
        0.16 1.50 2 | microwave:4, toaster:2, bread box, dish rack
        0.20 0.40 5 | bottle:5, jug:2, thermos, carafe, wine glass:2, pepper mill
        0.10 1.00 6 | cup:6, mug:2, bowl:5, jar:2, sugar bowl, teapot:2, kettle:2
        0.09 1.90 3 | pot:2, frying pan:2, saucepan, wok, casserole
        0.09 0.30 5 | fork:4, knife:4, spoon:4, spatula, ladle, whisk, corkscrew
        0.05 2.20 4 | plate:3, chopping board:2, tray, rolling pin, oven mitt
        0.08 1.10 6 | apple:2, orange:2, banana:2, broccoli, carrot:2, tomato, onion, potato, lemon
        0.09 1.60 4 | sandwich:2, hot dog, pizza:2, donut:2, cake:2, loaf, cheese wheel
        0.40 1.50 2 | dining table:4, kitchen island
        0.40 0.55 6 | chair:5, stool:2
    """,
    ("office", 2.2): """
        0.65 0.45 6 | person:8, man, woman, cleaner
        0.25 1.50 5 | tv:2, monitor:4, laptop:5, projector
        0.45 0.60 6 | chair:6, swivel stool, armchair
        0.40 1.60 4 | desk:5, meeting desk
        0.60 0.60 3 | bookcase:2, filing cabinet:2, whiteboard:2, door:3, window:2
        0.05 2.60 4 | keyboard:4, mouse:4, stapler, hole punch, calculator, tablet
        0.08 0.60 4 | cup:3, cell phone:3, bottle:2, telephone, pen holder, tape dispenser
        0.10 1.20 6 | book:4, notebook:2, folder:2, envelope, magazine, calendar
        0.30 0.70 3 | potted plant:3, wastebasket:2, shredder, printer:2, backpack:2, suitcase
        0.12 1.00 2 | clock:3, lamp:3, desk fan, smoke detector, loudspeaker
        0.07 0.50 2 | scissors:2, pen, ruler, highlighter, tie, name badge
    """,
    ("warehouse", 5.0): """
        0.45 0.40 6 | person:8, worker:4, man, forklift driver
        0.40 1.20 3 | forklift:5, pallet jack:2, truck:2, reach stacker, mobile robot:2
        0.22 1.20 9 | box:8, crate:4, carton:3, package:2, toolbox
        0.10 3.00 6 | pallet:5, conveyor belt, ramp
        0.75 1.20 4 | shelf:5, storage rack:2, roller shutter, door:2
        0.25 0.70 5 | barrel:3, drum, gas cylinder, jerrycan, bucket:2
        0.25 1.10 3 | hand truck:2, trolley:2, wheel loader, scissor lift
        0.22 0.45 3 | traffic cone:2, fire extinguisher:2, warning sign:2, exit sign
        0.45 0.35 2 | ladder:2, step stool, broom, mop
        0.10 1.20 3 | helmet:2, safety vest, barcode scanner, clipboard, roll of tape
    """,
    ("park", 6.0): """
        0.42 0.40 10 | person:14, child:3, man, woman, jogger:2, boy, girl
        0.20 1.30 4 | dog:6, puppy, cat, squirrel
        0.18 1.90 4 | bench:5, picnic table:2, picnic blanket
        0.70 0.80 5 | tree:4, oak, birch
        0.28 1.40 3 | bicycle:4, scooter, tricycle, pushchair:2
        0.08 1.10 5 | bird:4, pigeon:2, duck:2, swan, crow
        0.07 1.10 3 | sports ball:3, frisbee:3, balloon:2, football
        0.14 1.20 4 | kite:4, drone
        0.16 0.45 2 | baseball bat:2, tennis racket:2, baseball glove:2, skateboard:2
        0.40 1.40 2 | fountain:2, statue, slide, swing, seesaw, climbing frame, sandpit
        0.18 0.80 3 | backpack:2, handbag, umbrella, trash can, picnic basket, litter bin
    """,
    ("beach", 6.0): """
        0.40 0.42 12 | person:14, lifeguard, surfer:2, swimmer, child:2
        0.35 0.40 5 | surfboard:6, paddleboard, bodyboard
        0.35 1.20 6 | umbrella:5, parasol:3, beach tent
        0.18 1.80 5 | boat:4, canoe:2, rowing boat, pedal boat, jet ski
        0.25 1.50 6 | chair:2, deck chair:3, sun lounger:2, hammock
        0.07 1.80 4 | bird:3, seagull:3, crab, pelican
        0.12 1.00 5 | kite:3, sports ball:2, beach ball:2, inflatable ring
        0.10 1.10 4 | bucket:2, shovel, sandcastle:2, cool box:2, handbag:2, towel:2, straw hat
        0.70 0.70 4 | palm:3, lifeguard tower, beach hut
        0.18 1.40 2 | dog:3
        0.06 1.60 3 | seashell, starfish, flipper, snorkel, sandal
    """,
    ("living room", 2.5): """
        0.65 0.45 5 | person:8, woman, man, child, baby
        0.35 1.80 3 | couch:6, armchair:3, loveseat
        0.30 1.70 2 | tv:5, fireplace, aquarium, painting:2, mirror
        0.22 1.80 2 | coffee table:4, ottoman, sideboard
        0.70 0.60 3 | bookcase:3, curtain:2, door:2, window:3, wardrobe
        0.40 0.55 5 | chair:5, rocking chair, footstool
        0.20 1.20 4 | cat:4, dog:4, hamster cage
        0.30 0.60 4 | potted plant:5, vase:3, floor lamp:2, lamp:2, candle
        0.06 1.60 4 | remote:4, cell phone:3, book:5, game controller:2, magazine
        0.14 1.10 5 | cushion:4, teddy bear:2, doll:2, toy car, toy block
        0.10 0.90 4 | cup:3, wine glass:2, bottle:2, bowl:2, ashtray
        0.14 0.90 2 | clock:3, picture frame:2, radio:2, loudspeaker:2, telephone
        0.30 1.40 1 | piano, guitar, rug:2, chandelier, vacuum cleaner:2
    """,
    ("bedroom", 2.3): """
        0.60 0.45 3 | person:5, child:2, woman, man, baby
        0.40 1.70 2 | bed:8, bunk bed, crib, mattress
        0.60 0.65 3 | wardrobe:3, door:2, window:2, curtain, mirror
        0.30 0.90 3 | nightstand:3, dresser:2, laundry basket, suitcase:2
        0.14 1.60 6 | pillow:5, blanket:2, teddy bear:3, stuffed rabbit
        0.20 0.60 3 | lamp:4, alarm clock:2, clock:2, vase, potted plant:2
        0.08 1.20 5 | book:4, cell phone:3, laptop:2, remote, jewellery box, eyeglass case
        0.12 0.90 5 | shoe:3, slipper:2, sock, hat, belt, scarf, tie, handbag:2, backpack:2
        0.20 1.30 2 | cat:4, dog:3
        0.40 0.55 2 | chair:4, clothes rack, ironing board, dressing table
    """,
    ("bathroom", 1.8): """
        0.70 0.42 2 | person:5, woman, man, child
        0.40 0.75 2 | toilet:7, bidet, urinal
        0.28 1.50 2 | sink:7, washbasin
        0.35 2.00 1 | bathtub:4, shower tray
        0.50 0.70 2 | mirror:4, shower curtain, window, door:2, medicine cabinet, radiator
        0.16 0.35 5 | toothbrush:5, hairbrush, comb, razor:2, toilet brush, plunger
        0.14 0.45 5 | bottle:4, soap dispenser:2, shampoo bottle, perfume bottle, cup:2
        0.10 1.10 4 | bar of soap, sponge:2, roll of toilet paper:3, tissue box, rubber duck
        0.20 0.90 4 | towel:5, bathrobe, hair drier:3, washcloth
        0.45 0.85 1 | washing machine:2, tumble dryer, bathroom scale, laundry basket
        0.08 0.80 3 | scissors, faucet:3, vase, potted plant, clock
    """,
    ("farm", 8.0): """
        0.38 0.40 4 | person:6, farmer:3, man, rider
        0.28 1.40 10 | cow:8, horse:6, bull, donkey:2, calf, pony
        0.20 1.30 13 | sheep:8, goat:3, pig:3, lamb, dog:3
        0.09 1.00 10 | bird:2, chicken:4, rooster, goose, duck:2, turkey
        0.40 1.30 2 | tractor:5, trailer:2, combine harvester, plough, truck:2
        0.55 1.50 2 | barn:3, silo, windmill, greenhouse, stable
        0.18 1.20 5 | hay bale:4, trough, sack:2, wheelbarrow:2, milk churn
        0.30 2.00 3 | fence:4, gate:3, hedge
        0.35 0.25 2 | pitchfork, scarecrow, rake, shovel:2, bucket:2
        0.10 1.00 5 | apple:2, pumpkin:2, carrot, cabbage, corn cob
        0.12 1.20 2 | cat:2, rabbit, beehive
    """,
    ("workshop", 1.8): """
        0.65 0.45 4 | person:7, mechanic:3, carpenter, welder
        0.40 1.70 2 | workbench:5, dining table, table saw
        0.14 0.50 5 | hammer:4, screwdriver:4, wrench:4, pliers:2, chisel, file, crowbar, knife
        0.16 1.20 3 | drill:4, angle grinder:2, circular saw, jigsaw, sander, heat gun
        0.18 1.50 3 | toolbox:4, saw:2, box:3, vise:2, anvil, air compressor
        0.06 1.20 6 | bolt:2, screw, nut, washer, spring, gear:2, tape measure:2, battery
        0.18 0.60 4 | paint can:2, spray can, bottle:2, glue gun, oil can
        0.50 0.50 2 | ladder:2, shelf:2, pegboard, door:2, robot arm:3, laser cutter
        0.35 1.50 2 | car:3, motorcycle:2, engine, bicycle:2
        0.10 1.00 2 | helmet, glove:2, goggles:2, ear defenders, scissors:2, clock
        0.20 1.00 4 | tire:3, extension cord, plank:2, pipe:2
    """,
    ("airport", 7.0): """
        0.42 0.40 13 | person:14, pilot, flight attendant, security guard, passenger:2
        0.35 2.60 3 | airplane:6, helicopter, jet
        0.20 0.75 9 | suitcase:9, backpack:5, handbag:4, duffel bag:2, briefcase:2
        0.35 1.40 3 | bus:3, truck:2, fuel tanker, tow tractor, baggage cart:2
        0.22 1.10 3 | luggage trolley:3, wheelchair:2, pram
        0.30 0.90 12 | chair:6, bench:3, check-in counter
        0.22 1.40 4 | tv:2, departure board:2, information sign:2, clock:2
        0.35 0.60 3 | vending machine:2, ticket machine, metal detector, escalator, elevator:2
        0.10 0.70 5 | cell phone:3, laptop:2, cup:2, bottle:2, passport, book
        0.30 0.40 4 | traffic cone, barrier post:2, windsock, potted plant:2
    """,
    ("garden", 3.5): """
        0.50 0.42 4 | person:7, gardener:3, woman, man, child
        0.25 0.80 9 | potted plant:6, flower pot:2, shrub:2, rose bush, cactus
        0.10 0.80 9 | flower:3, sunflower:2, tulip, mushroom, tomato
        0.65 0.80 4 | tree:3, shed:2, gazebo, trellis, pergola
        0.22 1.30 2 | lawn mower:3, wheelbarrow:2, barbecue:2, fire pit
        0.16 1.00 3 | watering can:3, bucket:2, garden gnome:2, bird bath, birdhouse, lantern
        0.40 0.20 3 | rake:2, shovel:2, hoe, broom, garden fork
        0.12 0.90 2 | shears, trowel, hose reel:2, sprinkler
        0.28 1.50 5 | chair:4, bench:3, garden table, parasol, hammock
        0.09 1.30 4 | bird:4, butterfly, hedgehog, frog, snail, cat:3, rabbit
        0.20 1.30 2 | dog:4, fox
        0.30 2.00 3 | fence:3, gate, trampoline, pond
    """,
    ("zoo", 9.0): """
        0.32 0.42 9 | person:10, child:3, zookeeper:2, woman, man
        0.50 1.30 6 | elephant:7, rhinoceros:2, hippopotamus:2, buffalo
        0.30 1.40 8 | zebra:7, horse, antelope:2, deer:2, camel:2, llama
        0.70 0.50 5 | giraffe:7, ostrich
        0.28 1.30 4 | bear:6, polar bear, lion:2, tiger:2, leopard, gorilla, panda
        0.16 0.90 8 | monkey:3, kangaroo, koala, penguin:3, otter, meerkat
        0.10 1.10 8 | bird:5, parrot:2, flamingo:2, owl, peacock, eagle
        0.14 2.20 3 | crocodile, turtle:2, seal, snake, lizard
        0.60 0.80 4 | tree:3, rock:2, fence:2, gate
        0.16 0.90 4 | backpack:2, umbrella:2, handbag:2, trash can, bench:2, information sign
    """,
    ("ski slope", 8.0): """
        0.36 0.50 12 | person:14, skier:3, snowboarder:2, ski instructor
        0.07 3.00 8 | skis:9, snowboard:6, sled:2, toboggan
        0.25 0.10 6 | ski pole:3, slalom gate, marker pole
        0.22 0.80 3 | snowman:2, backpack:4, snow fence, rescue sled
        0.65 0.60 8 | fir:4, tree:2, cable car, chairlift:2, snow cannon
        0.35 1.50 2 | snow groomer:2, snowmobile:2, mountain hut:2, bus
        0.10 1.00 4 | helmet:2, goggles:2, glove:2, ski boot, beanie
        0.18 1.40 2 | dog:3, bench:2
    """,
}

_EVALUATION_TABLES = {
    ("harbour", 9.0): """
        0.36 0.40 9 | person:12, worker:2, man, woman
        0.28 1.50 8 | boat:9, canoe, rowing boat
        0.35 1.60 3 | truck:4, car:4, bus, forklift:2
        0.20 1.10 7 | crate:3, barrel:2, box:2, pallet
        0.09 1.50 7 | bird:4, seagull:3
        0.20 1.00 4 | bench:2, bicycle:3, bollard:2, suitcase, street lamp
        0.18 1.40 2 | dog:3
    """,
    ("gym", 3.5): """
        0.60 0.45 8 | person:12, man:2, woman:2
        0.15 1.00 6 | sports ball:5, backpack:3, towel:2, bottle:4
        0.30 1.60 4 | bench:4, tv:2, mirror:2
        0.20 0.70 3 | clock:2, potted plant, loudspeaker, door:2, trash can
        0.10 0.80 3 | cell phone:3, tennis racket, shoe:2
    """,
    ("classroom", 3.0): """
        0.50 0.45 13 | person:12, child:4, boy, girl
        0.38 0.70 13 | chair:9, stool
        0.32 1.60 9 | desk:5, dining table:2, whiteboard:2, bookcase:2
        0.08 1.40 9 | book:7, laptop:4, notebook:3, keyboard, calculator
        0.09 0.70 5 | bottle:3, cup:2, scissors:2, ruler, pen, cell phone:2
        0.22 0.90 5 | backpack:6, clock:3, tv:2, wastebasket, potted plant:2, window:3, door:2
    """,
    ("supermarket", 3.0): """
        0.50 0.42 10 | person:12, woman:2, man:2, child
        0.10 1.10 12 | apple:5, orange:5, banana:4, carrot:2, broccoli:2, tomato:2, onion, lemon
        0.14 0.50 12 | bottle:8, jar:3, spray can
        0.18 1.20 6 | box:4, carton:3, cake:2, pizza:2, donut:2, loaf:2, sandwich:2
        0.60 0.80 3 | shelf:5, refrigerator:4, freezer:2
        0.20 0.80 3 | handbag:3, backpack:2, potted plant, bucket
    """,
}

# Nouns that only evaluation shows, in the kinds that only evaluation shows.
_HELD_OUT_TABLES = {
    "harbour": """
        0.30 1.60 5 | sailing yacht:2, ferry:2, tugboat, trawler, barge
        0.40 1.00 3 | crane:2, lighthouse:2, shipping container:2, warehouse door
        0.12 1.10 5 | anchor:2, buoy:2, lifebelt:2, fishing net, lobster trap, coil of rope
        0.36 0.40 3 | sailor, fisherman:2
    """,
    "gym": """
        0.40 1.10 5 | treadmill:3, exercise bike:3, rowing machine:2, cross trainer, weight rack
        0.12 1.50 8 | dumbbell:4, barbell:2, kettlebell:2, weight plate, foam roller
        0.35 0.45 3 | punching bag:2, climbing rope, pommel horse, locker
        0.08 2.00 4 | yoga mat:2, jump rope, resistance band
    """,
    "classroom": """
        0.50 0.45 3 | teacher:3, pupil:3
        0.25 1.10 3 | globe:2, blackboard:2, lectern, easel, skeleton model
        0.08 1.20 6 | pencil:2, eraser, pencil case:2, crayon, paintbrush, sheet of paper
        0.12 0.80 4 | microscope:2, test tube, abacus, lunch box:2, school bell
    """,
    "supermarket": """
        0.30 1.00 5 | shopping cart:4, shopping basket:2, cash register:2, price scanner
        0.10 1.00 9 | melon:2, pineapple:2, cucumber, bell pepper, egg carton, cauliflower, peach
        0.12 0.70 6 | tin can:2, cereal packet:2, juice pouch, bag of crisps, yoghurt
        0.50 0.42 3 | cashier:2, shopper
    """,
}

STATES = {
    label: pair
    for labels, pair in (
        (
            "door, window, gate, laptop, book, umbrella, refrigerator, oven, suitcase, box, "
            "wardrobe, cupboard, toolbox, curtain, microwave, parasol, locker",
            ("open", "closed"),
        ),
        ("tv, lamp, monitor, traffic light, street lamp, radio, floor lamp", ("on", "off")),
        (
            "cup, bottle, bowl, wine glass, bucket, crate, barrel, mug, jar, trash can, "
            "shopping cart, shopping basket",
            ("full", "empty"),
        ),
    )
    for label in _names(labels)
}

# They hang, fly or are mounted, so that they are not above the ground they stand on.
RAISED = frozenset(
    _names(
        "airplane, balloon, billboard, bird, butterfly, cable car, chandelier, chairlift, clock, "
        "curtain, departure board, drone, exit sign, helicopter, information sign, jet, kite, "
        "medicine cabinet, mirror, painting, pegboard, picture frame, seagull, smoke detector, "
        "traffic light, stop sign, tv, whiteboard, window, microwave, pigeon, blackboard, "
        "school bell"
    )
)

_PERSONS = frozenset(
    _names(
        "person, man, woman, child, boy, girl, baby, police officer, cyclist, pedestrian, chef, "
        "cleaner, worker, forklift driver, jogger, lifeguard, surfer, swimmer, farmer, rider, "
        "mechanic, carpenter, welder, pilot, flight attendant, security guard, passenger, "
        "gardener, zookeeper, skier, snowboarder, ski instructor, sailor, fisherman, teacher, "
        "pupil, cashier, shopper, human, guy, lady, gentleman, adult"
    )
)
# What else people call a thing that a detector has one name for.
_OTHER_WORDS = {
    name: _names(words)
    for name, words in {
        "person": "man, woman, human, guy, lady, pedestrian, boy, girl, gentleman, adult",
        "car": "automobile, hatchback, sedan",
        "truck": "lorry",
        "bus": "coach",
        "bicycle": "bike, cycle",
        "motorcycle": "motorbike",
        "airplane": "aeroplane, plane",
        "boat": "vessel",
        "dog": "puppy",
        "cat": "kitten",
        "couch": "sofa",
        "tv": "television, screen",
        "cell phone": "mobile phone, phone, smartphone",
        "laptop": "computer",
        "refrigerator": "fridge",
        "dining table": "table",
        "potted plant": "plant",
        "sports ball": "ball",
        "backpack": "rucksack",
        "remote": "remote control",
        "hair drier": "hair dryer",
        "trash can": "dustbin, waste bin",
        "traffic cone": "pylon",
        "frying pan": "skillet",
        "street lamp": "lamp post",
    }.items()
}
# Words for things of several names.
KINDS_OF_THINGS = {
    name: frozenset(_names(words))
    for name, words in {
        "vehicle": "bicycle, car, motorcycle, airplane, bus, train, truck, boat, taxi, van, "
        "pickup truck, police car, tram, ambulance, fire engine, garbage truck, scooter, moped, "
        "forklift, reach stacker, wheel loader, canoe, rowing boat, pedal boat, jet ski, tractor, "
        "combine harvester, helicopter, jet, fuel tanker, tow tractor, snow groomer, snowmobile, "
        "sailing yacht, ferry, tugboat, trawler, barge, tricycle, trailer, cable car",
        "animal": "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, puppy, "
        "squirrel, pigeon, duck, swan, crow, seagull, crab, pelican, starfish, bull, donkey, "
        "calf, pony, goat, pig, lamb, chicken, rooster, goose, turkey, rabbit, butterfly, "
        "hedgehog, frog, snail, fox, rhinoceros, hippopotamus, buffalo, antelope, deer, camel, "
        "llama, ostrich, polar bear, lion, tiger, leopard, gorilla, panda, monkey, kangaroo, "
        "koala, penguin, otter, meerkat, parrot, flamingo, owl, peacock, eagle, crocodile, "
        "turtle, seal, snake, lizard",
        "piece of fruit": "banana, apple, orange, lemon, melon, pineapple, peach",
        "bag": "backpack, handbag, suitcase, duffel bag, briefcase, sack",
    }.items()
}
_PAIRED = frozenset(("scissors", "pliers", "shears", "goggles", "defenders"))
_UNCOUNTED = frozenset(("skis", "broccoli"))
_IRREGULAR = {
    "person": "people",
    "human": "humans",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
    "knife": "knives",
    "shelf": "shelves",
    "loaf": "loaves",
    "scarf": "scarves",
    "calf": "calves",
    "leaf": "leaves",
    "wolf": "wolves",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "sheep": "sheep",
    "deer": "deer",
    "ottoman": "ottomans",
    "buffalo": "buffalo",
    "bison": "bison",
    "starfish": "starfish",
    "aircraft": "aircraft",
}
# Names of much the same thing: where one is seen, "there is none" is no fair answer for the other.
_ALIKE = tuple(
    frozenset(_names(names))
    for names in (
        "car, taxi, van, pickup truck, police car, truck, ambulance, fire engine, garbage truck, "
        "fuel tanker",
        "airplane, jet",
        "train, tram",
        "motorcycle, moped, scooter",
        "bicycle, exercise bike, tricycle",
        "boat, canoe, ferry, tugboat, trawler, barge, sailing yacht",
        "tv, monitor",
        "couch, loveseat, armchair",
        "chair, armchair, stool, deck chair, sun lounger, footstool, swivel stool",
        "desk, dining table, workbench, coffee table, picnic table, garden table",
        "cup, mug",
        "box, carton, crate, package, toolbox",
        "bird, pigeon, duck, swan, crow, seagull, pelican, chicken, rooster, goose, turkey, "
        "parrot, flamingo, owl, peacock, eagle, ostrich, penguin",
        "dog, puppy",
        "bear, polar bear, panda, teddy bear",
        "cow, bull, calf, buffalo",
        "horse, pony, donkey",
        "sheep, lamb",
        "umbrella, parasol",
        "handbag, duffel bag, briefcase",
        "suitcase, briefcase",
        "cell phone, telephone",
        "lamp, floor lamp, street lamp, lantern",
        "tree, oak, birch, palm, fir",
        "sports ball, beach ball, football",
        "potted plant, flower pot, shrub, rose bush, cactus, flower, sunflower, tulip",
        "clock, alarm clock",
        "sink, washbasin",
        "book, notebook, magazine",
        "trash can, litter bin, wastebasket",
        "pram, pushchair",
        "barrel, drum",
        "sled, toboggan, rescue sled",
        "pot, saucepan, casserole",
        "hand truck, trolley, luggage trolley",
        "wardrobe, cupboard",
        "painting, picture frame",
        "refrigerator, freezer",
        "stove, oven",
    )
)


@dataclass(frozen=True, kw_only=True)
class Noun:
    """One object of a kind of scene.

    Attributes:
        label: Its name, in the singular.
        weight: How often it is there, against the others of the kind.
        height: Typical height as a share of the image's.
        aspect: Typical width over height.
        most: Most of them in one scene, as a rule.
        held_out: Whether only evaluation shows it.
    """

    label: str
    weight: float
    height: float
    aspect: float
    most: int
    held_out: bool = False


@dataclass(frozen=True, kw_only=True)
class SceneKind:
    """A kind of scene.

    Attributes:
        name: Such as `kitchen`.
        reach: Distance in metres at which its objects have their typical size.
        nouns: What may be there.
    """

    name: str
    reach: float
    nouns: tuple[Noun, ...]


def _rows(table: str, held_out: bool = False) -> tuple[tuple[Noun, ...], ...]:
    return tuple(_row(line, held_out) for line in table.strip().splitlines())


def _row(line: str, held_out: bool) -> tuple[Noun, ...]:
    shape, _, names = line.partition("|")
    height, aspect, most = shape.split()
    nouns = []
    for name in _names(names):
        label, _, weight = name.partition(":")
        nouns.append(
            Noun(
                label=label,
                weight=float(weight or 1),
                height=float(height),
                aspect=float(aspect),
                most=int(most),
                held_out=held_out,
            )
        )
    return tuple(nouns)


_TRAIN_ROWS = {name: _rows(table) for (name, _), table in _TRAIN_TABLES.items()}
_EVALUATION_ROWS = {
    name: _rows(table) + _rows(_HELD_OUT_TABLES[name], held_out=True)
    for (name, _), table in _EVALUATION_TABLES.items()
}


def _kinds(
    tables: dict[tuple[str, float], str], rows: dict[str, tuple[tuple[Noun, ...], ...]]
) -> tuple[SceneKind, ...]:
    return tuple(
        SceneKind(name=name, reach=reach, nouns=tuple(noun for row in rows[name] for noun in row))
        for name, reach in tables
    )


TRAIN_KINDS = _kinds(_TRAIN_TABLES, _TRAIN_ROWS)
EVALUATION_KINDS = _kinds(_EVALUATION_TABLES, _EVALUATION_ROWS)
# What a syllable begins with, has in its middle and ends with.
_SYLLABLE = (
    (
        "b",
        "br",
        "d",
        "f",
        "gl",
        "gr",
        "h",
        "k",
        "l",
        "m",
        "n",
        "p",
        "pl",
        "r",
        "s",
        "st",
        "t",
        "v",
    ),
    ("a", "e", "i", "o", "u", "ai", "ee", "oo"),
    ("", "", "l", "m", "n", "r", "t", "ck", "nd"),
)
TRAIN_NOUNS = tuple(
    dict.fromkeys([*COCO, *(noun.label for kind in TRAIN_KINDS for noun in kind.nouns)])
)
HELD_OUT_NOUNS = tuple(
    dict.fromkeys(n.label for kind in EVALUATION_KINDS for n in kind.nouns if n.held_out)
)


def kinds(split: Split) -> tuple[SceneKind, ...]:
    """The kinds of scenes of a split."""
    return TRAIN_KINDS if split == "train" else EVALUATION_KINDS


def vocabulary(split: Split) -> tuple[str, ...]:
    """The nouns of a split: evaluation knows those of training too."""
    return TRAIN_NOUNS if split == "train" else TRAIN_NOUNS + HELD_OUT_NOUNS


def coined(rng: np.random.Generator, noun: str) -> str:
    """A name that nobody has heard before, such as `vontel`, or `vontel lamp` after a noun."""
    syllables = (
        "".join(parts[int(rng.integers(len(parts)))] for parts in _SYLLABLE)
        for _ in range(int(rng.integers(2, 4)))
    )
    word = "".join(syllables)
    # A "vontel dog" is an animal, and a "vontel man" somebody, which their names must tell.
    plain = not (is_person(noun) or any(noun in names for names in KINDS_OF_THINGS.values()))
    return f"{word} {noun}" if plain and rng.random() < 0.5 else word


@cache
def confusable(label: str) -> tuple[str, ...]:
    """Nouns of about the same shape and place, one of which a detector may take for another."""
    rows = [row for rows in (_TRAIN_ROWS, _EVALUATION_ROWS) for k in rows.values() for row in k]
    mates = (n.label for row in rows if any(n.label == label for n in row) for n in row)
    return tuple(dict.fromkeys(mate for mate in mates if mate != label))


@cache
def overlap(label: str, other: str) -> bool:
    """Whether two names may be said of one thing, such as a man and a person, or contain another.

    A scene with both would have questions without one right answer.
    """
    if label == other or (is_person(label) and is_person(other)):
        return True
    if any(label in names and other in names for names in _ALIKE):
        return True
    return f" {other} " in f" {label} " or f" {label} " in f" {other} "


def other_words(label: str) -> tuple[str, ...]:
    """What else people call it."""
    return _OTHER_WORDS.get(label, ())


def is_person(label: str) -> bool:
    """Whether it is somebody: somebody wears a colour, a thing has one."""
    return label in _PERSONS


def plural_only(label: str) -> bool:
    """Whether the name is a plural of its own, as scissors are."""
    return label.split()[-1] in _PAIRED | {"skis"}


@cache
def plural(label: str) -> str:
    """Several of them.

    Example:
        >>> plural("knife"), plural("bar of soap"), plural("fire hydrant")
        ('knives', 'bars of soap', 'fire hydrants')
    """
    head, of, rest = label.partition(" of ")
    *before, last = head.split()
    return " ".join([*before, _plural_word(last)]) + of + rest


def _plural_word(word: str) -> str:
    if word in _PAIRED or word in _UNCOUNTED:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("man"):
        return word[:-2] + "en"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def with_article(label: str, adjective: str = "") -> str:
    """One of them, such as `an orange car`.

    Example:
        >>> with_article("umbrella"), with_article("skis"), with_article("scissors", "red")
        ('an umbrella', 'some skis', 'a pair of red scissors')
    """
    name = f"{adjective} {label}".strip()
    if label.split()[-1] in _UNCOUNTED:
        return f"some {name}"
    if plural_only(label):
        return f"a pair of {name}"
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "ute", "uri", "eu", "one "))
    return f"{'an' if vowel or name.startswith('hour') else 'a'} {name}"
