# SPDX-License-Identifier: Apache-2.0
"""How people put their questions, and what they call things in them.

Some ways are for training, others for evaluation only.

Fields of the templates, for the objects asked about: `x` dog, `xs` dogs, `a_x` a dog, `Is` and
`Does` the verbs that agree with `x`, `y` a second object; `red_x`, `red_xs` and `a_red_x` the same
with a colour; `on_side` "on the left", `colour`, `state`, `relation` such as "left of", `limit`
such as "3.2 meters".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mrmllm_ros.training.data.nouns import Split


@dataclass(frozen=True)
class Wordings:
    """Templates of one question.

    Attributes:
        train: Ways to ask it in training.
        evaluation: Ways to ask it that training never shows.
    """

    train: tuple[str, ...]
    evaluation: tuple[str, ...]

    def of(self, split: Split) -> tuple[str, ...]:
        """The templates of a split."""
        return self.train if split == "train" else self.evaluation


def _table(text: str) -> Wordings:
    """Read one template a line; those behind an asterisk are for evaluation."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return Wordings(
        train=tuple(line for line in lines if not line.startswith("*")),
        evaluation=tuple(line[1:].strip() for line in lines if line.startswith("*")),
    )


_TABLES = {
    "existence": """
        Is there {a_x}?
        Do you see {a_x}?
        Can you see {a_x}?
        Do you see any {xs}?
        Are there any {xs}?
        Any {xs} here?
        Is there {a_x} in the picture?
        is there {a_x}
        any {xs} around?
        Is {a_x} visible?
        Have you found {a_x}?
        Is {a_x} to be seen in this image?
        Are there any {xs} in the background?
        do you see {a_x} anywhere
        any {xs}?
        Are there any {xs} in the picture?
        Is there {a_x} in front of you?
        Have you spotted {a_x}?
        Do you have {a_x} in view?
        Tell me if there are any {xs}.
        Could you check for {a_x}, please?
        I need to know if you can see {a_x}.
        Let me know whether {a_x} can be seen.
        Does the image contain {a_x}?
        Can you find any {xs}?
        Do you notice {a_x} anywhere?
        Does the scene include any {xs}?
        {a_x} there?
        Are {xs} present?
        you see {a_x} or not
        Would there happen to be {a_x} here?
        I'm looking for {a_x}, do you see any?
        Is there such a thing as {a_x} around here?
        Have we got any {xs} here?
        Can {a_x} be found in this place?
        Would I find {a_x} there?
        Do you detect {a_x}?
        Confirm whether there are {xs} in view.
        Please look whether there is {a_x}.
        Are any {xs} in sight?
        Did your camera pick up {a_x}?
        Is {a_x} anywhere to be seen?
        Do {xs} appear in your view?
        See any {xs}, robot?
        Can you make out {a_x}?
        * Would there be {a_x} in view?
        * Tell me whether you can spot {a_x}.
        * could you check for {xs}
    """,
    "anybody": """
        Is anybody there?
        Is somebody there?
        Is there anybody?
        Do you see anyone?
        Can you see anybody?
        anybody here?
        Is someone in the picture?
        Is there someone around?
        Is anyone there?
        Do you see a person?
        anyone around?
        Are there any people here?
        Is somebody in front of you?
        Is there someone in the picture?
        Do you notice any human beings?
        Tell me if there's a person in view.
        Could you check whether anyone is here, please?
        I need to know if there is anybody in the room.
        Let me know if you spot someone.
        people present?
        Is any human visible?
        Have you got company?
        Is there a person with you?
        Has anybody turned up in your view?
        Does the image show anyone?
        see any folks over there
        Any sign of a person?
        Is there at least one person in sight?
        Do you detect a human?
        Does your camera see anybody?
        Have you spotted any people?
        Can you make out a person at all?
        Is someone standing or sitting there?
        Please look if there is some person.
        Is anybody visible to you?
        Are any humans in the scene?
        Do you have anyone in view?
        Confirm whether a person is present.
        Would there be anybody about?
        Somebody there?
        * Would there be anyone in view?
        * Tell me whether you can spot somebody.
    """,
    "count": """
        How many {xs} are there?
        How many {xs} do you see?
        How many {xs} can you see?
        Count the {xs}.
        What is the number of {xs}?
        how many {xs}
        How many {xs} are in the picture?
        Can you count the {xs}?
        How many {xs} are in this image?
        number of {xs}?
        Tell me how many {xs} there are.
        How many {xs} can you count?
        {xs} count?
        Could you count the {xs} for me, please?
        I need to know the total of {xs}.
        What's the total number of {xs} in the picture?
        Let me know how many {xs} are in view.
        How many {xs} are visible?
        Give me the quantity of {xs}.
        In total, how many {xs} have we got?
        What number of {xs} is there in front of you?
        How many {xs} does the image show?
        Please tally up the {xs}.
        Do you know how many {xs} are here?
        Can you say how many {xs} you have in sight?
        Report the quantity of {xs} in stock that you can see.
        How many {xs} appear in your view?
        I'd like a head count of the {xs}.
        Work out how many {xs} there are, will you?
        Number of {xs} you can see, please.
        I wonder how many {xs} are over there.
        How many are there of the {xs}?
        The {xs}, how many of them are there?
        Are you able to count how many {xs} there are?
        What amount of {xs} do you see?
        Exactly how many {xs} do you detect?
        Add up all the {xs} and tell me the result.
        How many {xs} can be seen altogether?
        * How many {xs} are in front of you?
        * Please give me a count of the {xs}.
        * what's the {x} count
    """,
    "where": """
        Where {Is} the {x}?
        Where in the picture {Is} the {x}?
        Where do you see the {x}?
        where is {a_x}
        On which side {Is} the {x}?
        Can you tell me where the {x} {Is}?
        Where in this image {Is} the {x}?
        Locate the {x}.
        Where can I find the {x}?
        {Is_cap} the {x} left, right or in the middle?
        location of the {x}?
        Could you tell me where the {x} {Is}?
        I can't find the {x}, where should I look?
        Find the {x} for me.
        Guide me to the {x}, please.
        Do you know where the {x} {Is}?
        Let me know the position of the {x}.
        I need to know where the {x} {Is} located.
        where {Is} the {x} at
        Help me find the {x}.
        Show me where the {x} {Is}.
        What is the position of the {x}?
        Which direction {Is} the {x} in?
        Which way to the {x}?
        What spot {Is} the {x} in?
        In what place {Is} the {x}?
        Where exactly {Is} the {x} in your view?
        Can you spot where the {x} {Is}?
        Tell me the whereabouts of the {x}.
        I'm searching for the {x}; where {Is} the {x}?
        {x}, where?
        Report the location of the {x}.
        Please pinpoint the {x}.
        Where {Does} the {x} appear in the image?
        Where {Is} the {x} to be found?
        Direct me to the {x}.
        Where {Is} the {x} sitting?
        Any idea where the {x} might be?
        Say where the {x} {Is}, would you?
        * In which part of the view {Is} the {x}?
        * Point me to the {x}.
        * whereabouts {Is} the {x}
    """,
    "left_or_right": """
        {Is_cap} the {x} on the left or on the right?
        {Is_cap} the {x} left or right?
        Do you see the {x} on the left or on the right?
        is the {x} on the right or on the left
        On which side {Is} the {x}, left or right?
        Left or right: where {Is} the {x}?
        Tell me whether the {x} {Is} on the left or on the right.
        Which side {Is} the {x} on, left or right?
        {Is_cap} the {x} to the left or to the right?
        left or right, the {x}?
        On which side {Is} the {x}?
        {x}: left side or right side?
        Tell me whether the {x} {Is} on the left or the right.
        Could you say if the {x} {Is} on the right-hand or the left-hand side?
        I need to know if I should look left or right for the {x}.
        Do I turn left or right to see the {x}?
        {Is_cap} the {x} on your left or on your right?
        Which half of the picture {Is} the {x} in, the left or the right?
        {Is_cap} the {x} in the left half or the right half?
        Would you say the {x} {Is} more to the left or more to the right?
        Let me know the side of the {x}, right or left.
        The {x}, is that on the left or the right?
        what side would the {x} be on
        Do you see the {x} on your left-hand or your right-hand side?
        {Is_cap} the {x} over on the left or over on the right?
        Should I go to the left or to the right for the {x}?
        Please tell me on which hand the {x} {Is}, left or right.
        Report the side of the {x}: left or right.
        {Does_cap} the {x} lie toward the left or toward the right?
        Can you tell me which side of the image the {x} {Is} on?
        In the image, {Is} the {x} left or right?
        {Is_cap} the {x} leftwards or rightwards of the center?
        To which side {Is} the {x}, the right or the left?
        Is it on the left or on the right that you see the {x}?
        I'm wondering whether the {x} {Is} on the right or on the left.
        {Does_cap} the {x} sit on the left-hand side or the right-hand side?
        * In which half {Is} the {x}, the left one or the right one?
        * {Does_cap} the {x} appear left or right?
    """,
    "where_all": """
        Where are the {xs}?
        Where are all the {xs}?
        Where do you see {xs}?
        where are the {xs}
        On which sides are the {xs}?
        Locate the {xs}.
        Can you tell me where the {xs} are?
        Where can I find the {xs}?
        Tell me where the {xs} are.
        In what places are the {xs}?
        Give me the sides of the {xs}.
        Where can I find each of the {xs}?
        Tell me the location of every one of the {xs}.
        positions of all {xs}?
        Could you say where all of the {xs} are?
        I need the whereabouts of all the {xs}.
        Locate all the {xs}.
        Find every one of the {xs} for me.
        Let me know where each of the {xs} is.
        In what parts of the picture are the {xs}?
        Please point out where all those {xs} are.
        Give the position of each of the {xs}.
        where r all the {xs}
        List the places of the {xs}.
        Do you know where all the {xs} are located?
        Show me where the {xs} are, all of them.
        How are the {xs} spread over the image?
        How are the {xs} distributed across your view?
        For each of the {xs}, tell me the side.
        Which directions are the {xs} in?
        I'd like to know where the various {xs} are.
        Report the locations of all {xs}.
        Help me find all the {xs}, please.
        Where in the scene are the different {xs}?
        Can you tell me on what side each of the {xs} is?
        {xs}, where are they all?
        Where exactly are the {xs} standing or lying?
        Walk me through where each of the {xs} is placed.
        * In which parts of the view are the {xs}?
        * Point me to the {xs}.
        * whereabouts are the {xs}
    """,
    "is_on_side": """
        {Is_cap} the {x} {on_side}?
        {Is} the {x} {on_side}
        {Is_cap} the {x} {on_side} of the picture?
        Do you see the {x} {on_side}?
        Can you see the {x} {on_side}?
        The {x} {Is} {on_side}, right?
        Would you say the {x} {Is} {on_side}?
        Is it true that the {x} {Is} {on_side}?
        Tell me if the {x} {Is} {on_side}.
        Could it be that the {x} {Is} {on_side}?
        I think the {x} {Is} {on_side}. Is that so?
        {Is_cap} the {x} to be found {on_side}?
        {Is_cap} the {x} located {on_side}?
        {x} {on_side}?
        Is it correct that the {x} {Is} {on_side}?
        {Is_cap} the {x} positioned {on_side}?
        Can you confirm the {x} {Is} {on_side}?
        I'd like to know whether the {x} {Is} {on_side}.
        Could you check that the {x} {Is} {on_side}, please?
        The {x} {Is} {on_side}, correct?
        so {Is} the {x} {on_side} or not
        Do you think the {x} {Is} {on_side}?
        Will I find the {x} {on_side}?
        Let me know if you've got the {x} {on_side}.
        Is that the {x} {on_side}?
        I believe the {x} {Is} {on_side}, is that true?
        {Is_cap} the {x} somewhere {on_side}?
        Looking {on_side}, do you see the {x}?
        Have you got the {x} {on_side}?
        {Is_cap} the {x} placed {on_side} of the picture?
        Yes or no: the {x} {Is} {on_side}.
        Verify whether the {x} {Is} {on_side}.
        Is it true that the {x} can be seen {on_side}?
        {Does_cap} the {x} show up {on_side} in your view?
        Should I look for the {x} {on_side}?
        {Is_cap} the {x} visible {on_side}?
        I was told the {x} {Is} {on_side}, can you confirm that?
        * {Does_cap} the {x} appear {on_side}?
        * Am I right that the {x} {Is} {on_side}?
    """,
    "what_on_side": """
        What is {on_side}?
        What do you see {on_side}?
        What can you see {on_side}?
        what's {on_side}
        What objects are {on_side}?
        What is there {on_side}?
        Tell me what is {on_side}.
        List what is {on_side}.
        Which things are {on_side}?
        Is anything {on_side}?
        Anything {on_side}?
        What stands {on_side}?
        Name what is {on_side}.
        Is there anything {on_side}?
        What's there {on_side}?
        Which objects are {on_side}?
        things {on_side}?
        Tell me what's {on_side}.
        Could you list what is {on_side}?
        I need to know what you have {on_side}.
        Let me know which items are {on_side}.
        What have we got {on_side}?
        Do you see anything {on_side}?
        Name the objects {on_side}.
        What stuff is {on_side}
        Please describe the things {on_side}.
        What items are located {on_side}?
        What objects appear {on_side}?
        List everything {on_side}.
        What's that {on_side}?
        Can you make out anything {on_side}?
        Which things do you notice {on_side}?
        What do you find when you look {on_side}?
        Report all objects {on_side}.
        I'm curious what is {on_side}.
        What sits {on_side}?
        What is to be seen {on_side}?
        Would you tell me what things there are {on_side}?
        Have you spotted anything {on_side}?
        Identify whatever is {on_side}.
        Tell grandma what you see {on_side}, dear.
        what kind of objects you have {on_side}?
        Enumerate the items {on_side}.
        What does your camera show {on_side}?
        * Which objects appear {on_side} of the view?
        * Is there something {on_side}, and what?
    """,
    "relation": """
        {Is_cap} the {x} {relation} the {y}?
        {Is} the {x} {relation} the {y}
        Do you see the {x} {relation} the {y}?
        Would you say the {x} {Is} {relation} the {y}?
        In the picture, {Is} the {x} {relation} the {y}?
        Can you tell whether the {x} {Is} {relation} the {y}?
        The {x} {Is} {relation} the {y}, correct?
        Is it true that the {x} {Is} {relation} the {y}?
        Tell me if the {x} {Is} {relation} the {y}.
        Could it be that the {x} {Is} {relation} the {y}?
        I think the {x} {Is} {relation} the {y}. Is that so?
        {Is_cap} the {x} to be found {relation} the {y}?
        {Is_cap} the {x} located {relation} the {y}?
        {x} {relation} {y}?
        Can you confirm that the {x} {Is} {relation} the {y}?
        I'd like to know whether the {x} {Is} {relation} the {y}.
        Would you say that the {x} {Is} {relation} the {y}?
        {Is_cap} the {x} positioned {relation} the {y}?
        Could you check whether the {x} {Is} {relation} the {y}, please?
        Let me know if you find the {x} {relation} the {y}.
        Do you think the {x} {Is} {relation} the {y}?
        so {Is} the {x} {relation} the {y} or not
        Yes or no: {Is} the {x} {relation} the {y}?
        Am I correct in saying the {x} {Is} {relation} the {y}?
        Verify that the {x} {Is} {relation} the {y}.
        {Is_cap} the {x} somewhere {relation} the {y}?
        Will I find the {x} {relation} the {y}?
        From where you stand, {Is} the {x} {relation} the {y}?
        I think the {x} {Is} {relation} the {y}; do you agree?
        {Does_cap} the {x} show up {relation} the {y} in your view?
        Can the {x} be seen {relation} the {y}?
        Please say if the {x} {Is} {relation} the {y}.
        Is it the case that the {x} {Is} {relation} the {y}?
        Should I look {relation} the {y} for the {x}?
        * {Does_cap} the {x} appear {relation} the {y}?
        * Check whether the {x} {Is} {relation} the {y}.
        * Seen from here, {Is} the {x} {relation} the {y}?
        * Is it right that the {x} {Is} {relation} the {y}?
    """,
    "which_relation": """
        {Is_cap} the {x} {relation} the {y}?
        {Is} the {x} {relation} the {y}
        Tell me whether the {x} {Is} {relation} the {y}.
        Would you say the {x} {Is} {relation} the {y}?
        Do you see the {x} {relation} the {y}?
        In the picture, {Is} the {x} {relation} the {y}?
        {Is_cap} the {x} located {relation} the {y}?
        {x} {relation} {y}?
        Tell me, {Is} the {x} {relation} the {y}?
        Do you see the {x} {relation} the {y}, which one?
        Could you tell me whether the {x} {Is} {relation} the {y}?
        I need to know if the {x} {Is} {relation} the {y}.
        Let me know whether the {x} {Is} {relation} the {y}, please.
        Where {Is} the {x}, {relation} the {y}?
        {Is_cap} the {x} positioned {relation} the {y}?
        {Is_cap} the {x} to be found {relation} the {y}?
        Should I look {relation} the {y} to find the {x}?
        the {x}, is that {relation} the {y}
        From your viewpoint, {Is} the {x} {relation} the {y}?
        Please say whether the {x} {Is} {relation} the {y}.
        Can you work out if the {x} {Is} {relation} the {y}?
        I can't tell if the {x} {Is} {relation} the {y}, can you?
        Will I find the {x} {relation} the {y}?
        State whether the {x} {Is} {relation} the {y}.
        {Does_cap} the {x} show up {relation} the {y} in the image?
        What would you say, {Is} the {x} {relation} the {y}?
        Decide whether the {x} {Is} {relation} the {y}.
        I'm wondering if the {x} {Is} {relation} the {y}.
        Do you know whether the {x} {Is} {relation} the {y}?
        Where would you place the {x}: {relation} the {y}?
        As you see things, {Is} the {x} {relation} the {y}?
        * {Does_cap} the {x} appear {relation} the {y}?
        * Which is it: {Is} the {x} {relation} the {y}?
    """,
    "which_bigger": """
        Which is bigger, the {x} or the {y}?
        What is bigger, the {x} or the {y}?
        Which one is larger, the {x} or the {y}?
        which is larger, the {x} or the {y}
        Is the {x} or the {y} bigger?
        Of the {x} and the {y}, which is bigger?
        Tell me which is the larger one, the {x} or the {y}.
        Of the {x} and the {y}, which one is the larger?
        bigger: {x} or {y}?
        What's bigger, the {x} or the {y}?
        Tell me which is larger, the {x} or the {y}.
        Could you say which of the two is bigger, the {x} or the {y}?
        I want to know which is greater in size: the {x} or the {y}.
        Compare the {x} with the {y} and name the bigger one.
        {x} versus {y}, who is larger?
        Which takes up more space in the image, the {x} or the {y}?
        Which covers more of the picture, the {x} or the {y}?
        Let me know the bigger one out of the {x} and the {y}.
        Who's the big one here, the {x} or the {y}?
        Which has the greater size, the {x} or the {y}?
        Please identify the larger object: the {x} or the {y}.
        do you see the {x} or the {y} as the bigger one
        Out of the {x} and the {y}, which would you call the larger?
        Looking at the {x} and the {y}, which one looks bigger?
        Which appears larger to you, the {x} or the {y}?
        Which wins on size, the {x} or the {y}?
        If you put the {x} against the {y}, which is the more sizeable?
        Size comparison, {x} and {y}: which is larger?
        Can you tell which of these is bigger, the {x} or the {y}?
        Would you pick the {x} or the {y} as the bigger object?
        Which is more large, the {x} or the {y}?
        the {x} and the {y}, which is the bigger of the pair?
        Which fills a larger part of the frame, the {x} or the {y}?
        Is it the {x} or the {y} that is bigger?
        Given the {x} and the {y}, give me the one with the larger size.
        Say the bigger one: {x} or {y}.
        Which of the two outsizes the other, the {x} or the {y}?
        * Which of the two takes up more room, the {x} or the {y}?
        * Between the {x} and the {y}, what is larger?
    """,
    "which_smaller": """
        Which is smaller, the {x} or the {y}?
        What is smaller, the {x} or the {y}?
        Which one is the smaller one, the {x} or the {y}?
        which is smaller, the {x} or the {y}
        Is the {x} or the {y} smaller?
        Of the {x} and the {y}, which is smaller?
        Tell me which is the smaller one, the {x} or the {y}.
        Of the {x} and the {y}, which one is the littler?
        smaller: {x} or {y}?
        What's smaller, the {x} or the {y}?
        Tell me which is tinier, the {x} or the {y}.
        Could you say which of the two is smaller, the {x} or the {y}?
        I want to know which is less in size: the {x} or the {y}.
        Compare the {x} with the {y} and name the smaller one.
        {x} versus {y}, who is smaller?
        Which takes up less space in the image, the {x} or the {y}?
        Which covers less of the picture, the {x} or the {y}?
        Let me know the smaller one out of the {x} and the {y}.
        Who's the little one here, the {x} or the {y}?
        Which has the lesser size, the {x} or the {y}?
        Please identify the smaller object: the {x} or the {y}.
        do you see the {x} or the {y} as the smaller one
        Out of the {x} and the {y}, which would you call the smaller?
        Looking at the {x} and the {y}, which one looks tinier?
        Which appears smaller to you, the {x} or the {y}?
        Which loses on size, the {x} or the {y}?
        If you put the {x} against the {y}, which is the less sizeable?
        Size comparison, {x} and {y}: which is smaller?
        Can you tell which of these is littler, the {x} or the {y}?
        Would you pick the {x} or the {y} as the smaller object?
        Which is more small, the {x} or the {y}?
        the {x} and the {y}, which is the smaller of the pair?
        Which fills a smaller part of the frame, the {x} or the {y}?
        Is it the {x} or the {y} that is smaller?
        Given the {x} and the {y}, give me the one with the smaller size.
        Say the tiny one: {x} or {y}.
        Which of the two is outsized by the other, the {x} or the {y}?
        * Which of the two takes up less room, the {x} or the {y}?
        * Between the {x} and the {y}, what is littler?
    """,
    "largest": """
        What is the largest thing?
        What is the largest object?
        What is the biggest thing you see?
        Which object is the biggest?
        Which thing is the largest?
        what's the biggest object
        What looks biggest?
        Name the largest object.
        Of all things here, which is the largest?
        What object has the greatest size?
        Which one is the largest of all?
        Tell me the biggest object.
        the largest thing?
        Which thing looks the most massive?
        What is the most sizeable thing here?
        Which object is the biggest one you can see?
        Tell me what the largest item in the picture is.
        biggest thing?
        What takes up the most space in the image?
        Could you point out the most sizeable object, please?
        I need to know which item is the largest.
        what's the most massive thing in view
        Which thing fills most of the frame?
        Out of everything there, what is the biggest?
        Name the largest object in front of you.
        Let me know which object has the greatest size.
        Of all the stuff you see, which is the largest?
        Identify the item with the largest area in the picture.
        What is the hugest thing you can see?
        I wonder which of these objects is the biggest.
        Please say which thing looks the largest.
        largest object in shot
        Would you mind telling me what the biggest item is?
        Which item dwarfs all the others?
        Do you know which thing there is the biggest?
        Can you pick out the largest thing in your view?
        what object covers the biggest part of the photo?
        Which object occupies the most pixels?
        Report the object of maximum size.
        Is there one object that is bigger than all the rest, and which is it?
        In terms of size, what comes first?
        If you rank the objects by size, which one is at the top?
        Find the biggest object for me.
        Which one has the largest dimensions?
        Tell us the name of the biggest thing you are looking at.
        no other object is as large as which one?
        What would you say is the largest thing in the scene?
        What in the picture is the largest?
        What dominates the picture by its size?
        What covers most of the photo?
        What is the image mostly taken up by?
        What stands out as the biggest?
        What has the biggest share of the image?
        Which of the things you see is largest?
        What would need the most room?
        Which has the greatest area in the picture?
        Which has the largest outline?
        Which spans the most of the image?
        What is of the greatest dimensions?
        Which has the most bulk?
        * Which object takes up most of the view?
        * What fills the picture most?
        * What is bigger than everything else here?
        * Which has the greatest extent in the image?
    """,
    "smallest": """
        What is the smallest thing?
        What is the smallest object?
        What is the tiniest thing you see?
        Which object is the smallest?
        Which thing is the smallest?
        what's the smallest object
        What looks smallest?
        Name the smallest object.
        Of all things here, which is the smallest?
        What object has the smallest size?
        Which one is the smallest of all?
        Tell me the smallest object.
        the smallest thing?
        Which thing looks the most tiny?
        What is the littlest thing here?
        Which object is the smallest one you can see?
        Tell me what the littlest item in the picture is.
        smallest thing?
        What takes up the least space in the image?
        Could you point out the tiniest object, please?
        I need to know which item is the smallest.
        what's the teeniest thing in view
        Which thing fills the least of the frame?
        Out of everything there, what is the smallest?
        Name the tiniest object in front of you.
        Let me know which object has the least size.
        Of all the stuff you see, which is the littlest?
        Identify the item with the smallest area in the picture.
        What is the most minute thing you can see?
        I wonder which of these objects is the smallest.
        Please say which thing looks the smallest.
        tiniest object in shot
        Would you mind telling me what the smallest item is?
        Which item is dwarfed by all the others?
        Do you know which thing there is the tiniest?
        Can you pick out the smallest thing in your view?
        what object covers the smallest part of the photo?
        Which object occupies the fewest pixels?
        Report the object of minimum size.
        Is there one object that is smaller than all the rest, and which is it?
        In terms of size, what comes last?
        If you rank the objects from big to small, which one is at the bottom?
        Find the littlest object for me.
        Which one has the smallest dimensions?
        Tell us the name of the smallest thing you are looking at.
        no other object is as tiny as which one?
        What would you say is the smallest thing in the scene?
        What in the picture is the smallest?
        What covers the least of the photo?
        What has the smallest share of the image?
        What stands out as the tiniest?
        Which of the things you see is smallest?
        What would need the least room?
        Which has the least area in the picture?
        Which has the smallest outline?
        Which spans the least of the image?
        What is of the least dimensions?
        Which has the least bulk?
        * Which object takes up least of the view?
        * What fills the picture least?
        * What is smaller than everything else here?
        * Which has the least extent in the image?
    """,
    "bigger": """
        {Is_cap} the {x} bigger than the {y}?
        {Is_cap} the {x} larger than the {y}?
        {Is} the {x} bigger than the {y}
        {Does_cap} the {x} look bigger than the {y}?
        Would you say the {x} {Is} larger than the {y}?
        In the picture, {Is} the {x} bigger than the {y}?
        Is it true that the {x} {Is} bigger than the {y}?
        Tell me if the {x} {Is} larger than the {y}.
        Could it be that the {x} {Is} bigger than the {y}?
        {Is_cap} the {x} greater in size than the {y}?
        Next to the {y}, {Does} the {x} look larger?
        I think the {x} {Is} bigger than the {y}. Is that so?
        {Is_cap} the {x} of greater size than the {y}?
        {Does_cap} the {x} occupy more of the image than the {y}?
        Would you say the {x} {Is} bigger than the {y}?
        Can you tell me if the {x} {Is} larger than the {y}?
        I'd like to know whether the {x} {Is} bigger than the {y}.
        the {x} bigger than the {y}?
        {x} larger than {y}?
        {Does_cap} the {x} outsize the {y}?
        {Does_cap} the {x} exceed the {y} in size?
        {Is_cap} the {x} more sizeable than the {y}?
        Tell me whether the {x} {Is} the larger one, compared to the {y}.
        Do you think the {x} {Is} bigger in size than the {y}?
        When you compare the {x} and the {y}, {Is} the {x} the bigger?
        Could you check if the {x} {Is} bigger than the {y}, please?
        {Does_cap} the {x} look bigger to you than the {y}?
        {Does_cap} the {x} appear larger than the {y}?
        {Does_cap} the {x} fill more of the frame than the {y}?
        {Does_cap} the {x} cover a larger area than the {y}?
        Please confirm that the {x} {Is} larger than the {y}.
        so the {x} {Is} bigger than the {y}, yes or no
        Am I correct that the {x} {Is} larger than the {y}?
        Size-wise, {Is} the {x} ahead of the {y}?
        {Does_cap} the {x} dwarf the {y}?
        Let me know if the {x} {Is} of a larger size than the {y}.
        Relative to the {y}, {Is} the {x} any larger?
        {Does_cap} the {x} have a greater size than the {y}?
        {Does_cap} the {x} measure bigger than the {y}?
        The {x} {Is} bigger than the {y}, true or false?
        Beside the {y}, {Does} the {x} seem the larger of the two?
        * Compared with the {y}, {Is} the {x} bigger?
        * {Does_cap} the {x} take up more room than the {y}?
    """,
    "nearest": """
        What is nearest to you?
        What is closest to you?
        Which object is the nearest?
        Which object is closest?
        what's nearest
        What is the closest to the camera?
        Name the closest object.
        What is the nearest thing?
        What stands closest to you?
        Which of these things is nearest?
        Tell me what is closest.
        Which object has the least distance to you?
        the nearest object?
        What is closest by?
        Which object is nearest to you?
        What's the closest thing to the camera?
        nearest object?
        closest thing to you
        Tell me what is right up close to you, closer than anything else.
        Which item is the fewest meters away from you?
        What is the least far away?
        Could you tell me which object is the nearest, please?
        I need to know what you are closest to.
        What stands nearest to the robot?
        Name the item with the shortest distance to the camera.
        Let me know which thing is closest at hand.
        Of all the objects, which is the closest to you?
        What do you have nearest in front of you?
        Which thing are you nearest to?
        Report the object at minimum range.
        Please identify the nearest item.
        Which of these things is less far from you than all the others?
        What's nearest, robot?
        Out of everything you see, what is nearest?
        Which object lies at the smallest distance?
        I'd like to hear what the closest object is.
        Do you know which item is closest to where you are?
        Find the thing that is closest to your lens.
        Which object is in closest proximity to you?
        If you order the objects by distance, which comes first?
        what is the most near thing to you?
        Which object would you need to travel the least to get to?
        Who or what is closest to you right now?
        Can you say what you're standing closest to?
        Point me to the object with the lowest distance reading.
        the thing nearest you, what is it
        What would you get to first?
        What could you reach soonest?
        Which object would you meet first?
        What is so close that you should mind it most?
        What in the picture is nearest?
        * What would you bump into first?
        * Which thing could you touch first?
        * What is closer to you than everything else?
        * Which thing is at the shortest range?
    """,
    "nearest_of": """
        Which {x} is nearest?
        Which {x} is closest?
        Which {x} is the nearest one?
        which {x} is closest to you
        Which of the {xs} is nearest?
        Which of the {xs} is closest to you?
        Tell me the closest {x}.
        Name the nearest {x}.
        Which {x} has the least distance to you?
        Which {x} stands closest to you?
        Which {x} is nearest to you?
        Which of the {xs} is closest?
        closest {x}?
        Tell me which {x} is the least distance away.
        Could you point out the {x} closest to you?
        Of all the {xs}, which is the nearest one?
        I need to know the nearest {x}.
        Let me know which of those {xs} is closest to the robot.
        Which {x} are you nearest to?
        Identify the {x} with the shortest range.
        What is the closest one of the {xs}?
        Please find the nearest of the {xs}.
        Do you know which {x} is the closest to where you are?
        Pick the {x} that's nearest to your camera.
        Among the {xs}, which has the smallest distance to you?
        Show me the closest {x}, please.
        nearest one of the {xs}
        Which {x} would be the shortest trip for you?
        There are several {xs}; which is closest by?
        Can you say which of the {xs} is least far away?
        Give me the {x} nearest you.
        Which of these {xs} is in closest proximity to you?
        Sort the {xs} by distance and tell me the first.
        Which {x} is the fewest meters from you?
        I'm looking for the {x} that is nearest to you.
        What {x} do you have closest to you?
        Would you tell me which one of the {xs} is more near to you than the others?
        Report the minimum-distance {x}.
        Single out the {x} closest to the camera.
        Which {x} could you come to soonest?
        * Of all the {xs}, which is nearest to the camera?
        * Which {x} would you reach first?
        * Which {x} is closer to you than the others?
        * Which {x} is at the shortest range?
    """,
    "distance": """
        How far away {Is} the {x}?
        How far {Is} the {x}?
        What is the distance to the {x}?
        how far is it to the {x}
        How many meters away {Is} the {x}?
        Tell me the distance of the {x}.
        How close {Is} the {x}?
        distance to {x}?
        How many meters off {Is} the {x}?
        Tell me how far the {x} {Is} from you.
        Could you estimate the distance to the {x}, please?
        I need to know how far off the {x} {Is}.
        What's the range to the {x}?
        How close {Is} the {x} to you?
        How near {Is} the {x}?
        Let me know the distance between you and the {x}.
        How much distance is there between the {x} and the camera?
        How far would I have to go to get to the {x}?
        Give me the distance of the {x} in meters.
        Can you measure how far the {x} {Is}?
        Report range to {x}.
        how far {Is} the {x} from here
        How far do you have to drive to reach the {x}?
        How many meters from the camera {Is} the {x}?
        Do you know how distant the {x} {Is}?
        What distance separates you from the {x}?
        Regarding the {x}, how far off would that be?
        Roughly how far {Is} the {x} from where you are?
        How great is the gap between you and the {x}?
        In meters, how far {Is} the {x}?
        Say how many meters you are from the {x}.
        I'd like the distance to the {x}.
        How far from the robot {Is} the {x}?
        Please tell how long is the way to the {x}.
        What is your distance from the {x}?
        * How many meters is it from you to the {x}?
        * At what distance {Is} the {x}?
    """,
    "colour": """
        What color {Is} the {x}?
        What is the color of the {x}?
        what color {Is} the {x}
        Which color {Does} the {x} have?
        Tell me the color of the {x}.
        What color do you see on the {x}?
        Can you tell the color of the {x}?
        * In what color {Does} the {x} come?
        * How would you describe the {x}'s color?
    """,
    "colour_worn": """
        What color is the {x} wearing?
        what color does the {x} wear
        Which color are the {x}'s clothes?
        What color is the {x} dressed in?
        What color are the clothes of the {x}?
        Tell me the color that the {x} wears.
        * In which color is the {x} clothed?
        * How would you describe the color of the {x}'s outfit?
    """,
    "colours": """
        What color are the {xs}?
        What colors are the {xs}?
        what color are the {xs}
        Which colors do the {xs} have?
        Tell me the colors of the {xs}.
        What are the colors of the {xs}?
        * In what colors do the {xs} come?
        * How would you describe the colors of the {xs}?
    """,
    "colours_worn": """
        What color are the {xs} wearing?
        What colors are the {xs} wearing?
        what color do the {xs} wear
        Which colors are the {xs} dressed in?
        What colors are the clothes of the {xs}?
        Tell me the colors that the {xs} wear.
        * In which colors are the {xs} clothed?
        * How would you describe the colors that the {xs} have on?
    """,
    "is_colour": """
        {Is_cap} the {x} {colour}?
        {Is} the {x} {colour}
        {Is_cap} that {x} {colour}?
        {Does_cap} the {x} look {colour}?
        {Does_cap} the {x} have a {colour} color?
        The {x} {Is} {colour}, right?
        Is it true that the {x} {Is} {colour}?
        Tell me if the {x} {Is} {colour}.
        I think the {x} {Is} {colour}. Is that so?
        * Would you call the {x} {colour}?
        * Am I right that the {x} {Is} {colour}?
    """,
    "wears_colour": """
        Is the {x} wearing {colour}?
        is the {x} wearing {colour}
        Does the {x} wear {colour}?
        Is the {x} dressed in {colour}?
        Are the {x}'s clothes {colour}?
        Is the {x} in {colour}?
        Is it true that the {x} wears {colour}?
        Tell me if the {x} is wearing {colour}.
        I think the {x} is in {colour}. Is that so?
        * Does the {x} have {colour} clothes on?
        * Am I right that the {x} is wearing {colour}?
    """,
    "described": """
        {x} near the wall
        old {x}
        shiny {x}
        {x} by the entrance
        new {x}
        {x} next to the post
        dirty {x}
        {x} in the corner
        {x} with the scratches
        {x} over there
        {x} seen from behind
        {x} under the roof
        * {x} along the fence
        * rusty {x}
    """,
    "described_person": """
        {x} on the grass
        {x} with the gray hair
        tall {x}
        {x} near the wall
        {x} with the hat
        smiling {x}
        {x} next to the post
        young {x}
        {x} at the corner
        {x} over there
        {x} crossing the road
        {x} in the doorway
        {x} with the bag
        * {x} with the glasses
        * {x} behind the railing
        * blonde {x}
    """,
    "dressed": """
        in {colour}
        in a {colour} jacket
        with a {colour} coat
        wearing {colour}
        in the {colour} shirt
        dressed in {colour}
        with the {colour} jacket
        who wears {colour}
        * in the {colour} coat
        * with a {colour} shirt on
    """,
    "existence_colour": """
        Is there {a_red_x}?
        Do you see {a_red_x}?
        Can you see {a_red_x}?
        Are there any {red_xs}?
        any {red_xs}?
        do you see {a_red_x} anywhere
        Is {a_red_x} visible?
        * Would there be {a_red_x} in view?
        * Tell me whether you can spot {a_red_x}.
    """,
    "count_colour": """
        How many {red_xs} are there?
        How many {red_xs} do you see?
        How many {red_xs} can you see?
        how many {red_xs}
        Count the {red_xs}.
        Can you count the {red_xs}?
        * How many {red_xs} are in front of you?
        * Please give me a count of the {red_xs}.
    """,
    "existence_side": """
        Is there {a_x} {on_side}?
        Do you see {a_x} {on_side}?
        Are there any {xs} {on_side}?
        Can you see any {xs} {on_side}?
        any {xs} {on_side}?
        is there {a_x} {on_side}
        Do you see any {xs} {on_side}?
        Is {a_x} visible {on_side}?
        Tell me if there is {a_x} {on_side}.
        Let me know whether you see {a_x} {on_side}.
        {on_side}, is there {a_x}?
        Looking {on_side}, do you see {a_x}?
        Can you spot {a_x} {on_side}?
        Could you check for {xs} {on_side}, please?
        Does the picture show {a_x} {on_side}?
        Have you got {a_x} {on_side}?
        Is there by any chance {a_x} {on_side}?
        * Would there be {a_x} {on_side}?
        * {on_side}, can you spot any {xs}?
    """,
    "count_side": """
        How many {xs} are there {on_side}?
        How many {xs} are {on_side}?
        How many {xs} do you see {on_side}?
        How many {xs} can you see {on_side}?
        how many {xs} {on_side}
        Count the {xs} {on_side}.
        Can you count the {xs} {on_side}?
        Tell me how many {xs} there are {on_side}.
        {on_side}, how many {xs} are there?
        What is the number of {xs} {on_side}?
        Looking {on_side}, how many {xs} do you see?
        I need the number of {xs} {on_side}.
        Of the {xs}, how many are {on_side}?
        Please say how many {xs} you have {on_side}.
        * {on_side}, how many {xs} can you find?
        * Please give me a count of the {xs} {on_side}.
    """,
    "state": """
        {Is_cap} the {x} {state}?
        {Is} the {x} {state}
        {Is_cap} that {x} {state}?
        {Does_cap} the {x} look {state}?
        The {x} {Is} {state}, right?
        Can you see whether the {x} {Is} {state}?
        Is it true that the {x} {Is} {state}?
        Tell me if the {x} {Is} {state}.
        I think the {x} {Is} {state}. Is that so?
        * Would you say that the {x} {Is} {state}?
        * Check whether the {x} {Is} {state}.
    """,
    "listing": """
        What do you see?
        List everything.
        What is there?
        What objects do you see?
        What can you see?
        List all objects.
        what do you see
        Which objects are there?
        Name everything you see.
        What is in the picture?
        What's in front of you?
        Tell me all the things you can see.
        What have you found?
        Report everything that you see.
        Read out the objects.
        Say what you see.
        What all is there?
        Which objects can you see?
        List the objects in view.
        objects in view?
        What things are in front of you?
        Tell me all the items you can make out.
        Could you list the things you see, please?
        I need a list of what's there.
        Let me know which objects are visible.
        Give me an inventory of the visible items.
        What items have you detected?
        Enumerate the detected objects.
        What kinds of things can you spot?
        what stuff is there
        Which things does the image contain?
        What objects are in the picture?
        Please name the objects you recognise.
        Can you tell me everything that's in the photo?
        What have you got in front of the camera?
        Run through the things you can see.
        What all can you see there?
        Read out the list of objects.
        Which items appear in the scene?
        I'd like to hear all the things you see.
        What objects does your camera pick up?
        Report all detections.
        Say the names of the things you are looking at.
        Do you know what objects there are around you?
        Would you enumerate what's visible?
        list of things you see
        What sort of objects surround you?
        Make me a list of everything in view.
        Which things do you recognize?
        * Which things are in view?
        * Give me a list of the objects around you.
        * Enumerate what is visible.
    """,
    "description": """
        Describe the scene.
        Describe what you see.
        describe the picture
        Give me a description of the scene.
        Can you describe the scene?
        What does the scene look like?
        Tell me about the scene.
        Please describe your surroundings.
        Sum up what you see.
        How does it look around you?
        Give me a short account of the scene.
        Tell me what this place looks like.
        Describe the view.
        Can you describe the picture for me?
        Give me a description of what's in front of you.
        scene description?
        Tell me about what you're looking at.
        Could you describe your surroundings, please?
        What does it look like where you are?
        I'd like a summary of the scene.
        Sum up what is in front of the camera.
        What does the picture show?
        What's the view like from there?
        Let me know what the scene looks like.
        describe this place to me
        Explain to me what's in the image.
        How would you describe the view?
        I can't see, so please tell me what is around.
        Provide an overview of the scene.
        What's the situation in front of you?
        Talk me through what you can see.
        Give a short caption for this image.
        Be my eyes and describe the view.
        Please give me a brief report on what's in view.
        Tell me what this scene is like.
        What is in this scene, in a few words?
        Summarise the image.
        Say something about the picture.
        Would you mind describing what's around you?
        I want to know how the scene looks.
        Give me a rundown of what's before you.
        what r you looking at, describe it
        Sketch the scene for me.
        Walk me through this place.
        Narrate what is in front of you.
        In your own words, what is this place like?
        Set the scene for me.
        Fill me in on your surroundings.
        Depict what you are looking at.
        Can you give me an impression of the scene?
        How would you sum up this view in a sentence?
        What would you tell someone who can't see this?
        Could you express in a sentence what is before you?
        Outline what the camera shows.
        Give me the big picture.
        I'm not there: what's it like?
        What's going on around you?
        Could you draw up a report of your surroundings?
        Let me see through your eyes.
        Picture description, please.
        Make a statement about the scene.
        Tell me the story of this image.
        Get me up to speed on what is there.
        Help me imagine the place that you are in.
        Phrase what you see as one sentence.
        Could you characterise the scene?
        Convey to me how the place looks.
        What meets your eye?
        Could you sketch out what is in the image?
        Draw me a quick portrait of the surroundings.
        Give an account of what is there.
        Verbalise what you see.
        What can you say about the scene?
        Break down the picture for me.
        * Could you put the view into words?
        * Paint me a picture of what is there.
    """,
    "which_colour": """
        Which {x} is {colour}?
        Which of the {xs} is {colour}?
        which {x} is {colour}
        Which one is the {red_x}?
        Which {x} has the color {colour}?
        Show me the {red_x}.
        * Of the {xs}, which is the {colour} one?
        * Find me the {red_x}.
    """,
    "which_wears": """
        Which {x} is wearing {colour}?
        Which of the {xs} is wearing {colour}?
        which {x} wears {colour}
        Which one is the {red_x}?
        Which {x} is dressed in {colour}?
        Show me the {red_x}.
        * Of the {xs}, which is clothed in {colour}?
        * Find me the {red_x}.
    """,
    "which_side": """
        Which {x} is {on_side}?
        Which of the {xs} is {on_side}?
        which {x} is {on_side}
        Which {x} do you see {on_side}?
        Which is the {x} {on_side}?
        Show me the {x} {on_side}.
        What {x} do you see {on_side}?
        the {x} {on_side}, which one?
        Tell me which is the {x} {on_side}.
        Could you point out the {x} that's {on_side}?
        Which one of the {xs} do you have {on_side}?
        I need to know which {x} is located {on_side}.
        Let me know which of the {xs} you see {on_side}.
        Pick out the {x} {on_side}.
        Of all the {xs}, which one is {on_side}?
        Identify the {x} {on_side}, please.
        I mean the {x} {on_side}, can you show me that one?
        Which {x} can be found {on_side}?
        Out of those {xs}, which is standing {on_side}?
        Find the {x} that is {on_side}.
        Select the {x} {on_side}.
        which one of the {xs} sits {on_side}
        Can you tell which of the {xs} is placed {on_side}?
        Indicate the {x} you see {on_side}.
        Which of these {xs} appears {on_side}?
        There are several {xs}; which is {on_side}?
        Would you show which {x} is the one {on_side}?
        Do you know which of the {xs} is {on_side}?
        Highlight the {x} located {on_side}.
        I'm asking for the {x} {on_side}, not the other ones.
        Single out the {x} {on_side}.
        Give me the {x} that you see {on_side}.
        Which {x} is positioned {on_side}?
        Please say which of all the {xs} is {on_side}.
        Look for the {x} {on_side} and tell me which it is.
        * Of the {xs}, which is the one {on_side}?
        * Find me the {x} {on_side}.
    """,
    "which_biggest": """
        Which {x} is the biggest?
        Which {x} is the largest?
        which {x} is biggest
        Which of the {xs} is the biggest?
        Which of the {xs} is the largest one?
        Show me the biggest {x}.
        Which of the {xs} is the largest?
        biggest {x}?
        What is the largest of the {xs}?
        Tell me which {x} is the largest one.
        Could you point out the biggest {x}, please?
        Of all the {xs}, which one is the biggest?
        I need to know the largest {x}.
        Let me know which one of the {xs} has the greatest size.
        Identify the most sizeable of the {xs}.
        Among the {xs}, which looks biggest?
        Out of those {xs}, which is the largest?
        Show me the largest {x}.
        Which {x} takes up the most space in the picture?
        Pick the biggest one from the {xs}.
        largest of the {xs}
        Which of these {xs} covers the most of the image?
        Find the {x} that is bigger than the others.
        Do you know which of the {xs} is the biggest one?
        Which {x} is larger than all the rest?
        There are several {xs}; which is biggest?
        Name the {x} with the largest size.
        If you sort the {xs} by size, which comes out on top?
        Can you tell me which of the {xs} is the hugest?
        Which one of the {xs} fills the largest part of the frame?
        Please say which {x} appears the biggest.
        Compare the {xs} and give me the largest.
        What {x} has the biggest dimensions?
        I'm after the biggest of the {xs}, which is that?
        Report the maximum-size {x}.
        Which {x} dwarfs the others?
        Would you select the largest {x} for me?
        * Of the {xs}, which takes up most room?
        * Find me the largest {x}.
    """,
    "unanswerable": """
        What time is it?
        What day is it today?
        Where was this picture taken?
        Who took this picture?
        How old is this place?
        What happened here a minute ago?
        What will happen next?
        Who lives here?
        What is behind you?
        What does it smell like here?
        what can you hear
        How warm is it here?
        Is it going to rain tomorrow?
        What is this place used for at night?
        What is the name of this place?
        In which city are you?
        What's the time?
        Who lives in this place?
        Who owns all this?
        What day of the week is it?
        Which year was this built?
        What's that noise?
        Can you hear any music?
        What's the weather going to be like tomorrow?
        Is it raining outside right now?
        How cold is it in here?
        what's the temperature
        What does it smell like there?
        What happened here yesterday?
        Who was here before us?
        What is going to happen next?
        What's behind you?
        What is in the next room?
        What's just out of the picture?
        How much does it all cost?
        How much rent do they pay for this?
        What's the address of this place?
        Which city are we in?
        What country was this taken in?
        What is this place called?
        Why is everything set up like this?
        What's the purpose of this room?
        Are the people who live here happy?
        How long has it been like this?
        When was it last cleaned?
        Who tidied up in here?
        When was the photo taken?
        What brand is everything?
        Is it someone's birthday today?
        What are they talking about?
        What's for dinner?
        Is anybody coming later?
        When will the delivery arrive?
        Could you tell me who's in charge here?
        Is this place safe at night?
        What used to be here in the old days?
        What's the phone number for this place?
        Is the wifi working?
        Do the neighbours make a lot of noise?
        How do you feel about being here?
        What would the owner think of this?
        Tell me the history of this place.
        I'd like to know when they open.
        what time does this place close
        Why did they choose this spot?
        How many people visit here every day?
        Has there ever been an accident here?
        Let me know what's round the corner.
        Is it quiet or noisy there?
        Who paid for all of this?
        How is the picture?
        How clear is your view?
        what's wrong with your camera
        Tell me what is wrong with the image, if anything.
        In what state is the camera image?
        What is disturbing the view?
        Is anything wrong with the picture, and what?
        What is your visibility like?
        Is the picture clear?
        Can you see clearly?
        is everything clear
        Is the picture sharp and clear?
        Do you see everything clearly?
        Is the picture all right?
        Is the camera's picture a good one?
        Is the image free of defects?
        Is your view foggy?
        Would you say the picture is too bright?
        Is the view blurred at the moment?
        Has the picture become grainy?
        Is this image a hazy one?
        Could it be that the image is dark?
        * Which year is it?
        * What is going on next door?
        * What was here yesterday?
        * How loud is it?
        * Which country is this?
    """,
    "unanswerable_thing": """
        How much does the {x} cost?
        Who owns the {x}?
        What is behind the {x}?
        How old {Is} the {x}?
        How heavy {Is} the {x}?
        Who put the {x} there?
        Why {Is} the {x} there?
        Where was the {x} yesterday?
        How long has the {x} been there?
        what's inside the {x}
        Who made the {x}?
        Where will the {x} be tomorrow?
        What happened to the {x} before?
        When was the {x} last moved?
        How much {Does} the {x} cost?
        What's the price of the {x}?
        Whose {Is} the {x}?
        What {Does} the {x} weigh?
        What brand {Is} the {x}?
        Which country {Does} the {x} come from?
        Where did somebody buy the {x}?
        When did they buy the {x}?
        {Is_cap} the {x} in working order?
        {Does_cap} the {x} work properly?
        {Is_cap} the {x} still under warranty?
        What will happen to the {x} tomorrow?
        Who used the {x} last?
        How long {Is} the {x} going to stay there?
        How long has someone had the {x}?
        {Is_cap} the {x} expensive?
        {Is_cap} the {x} for sale?
        Could you tell me what the {x} {Is} worth?
        I need to know the serial number of the {x}.
        Let me know when the {x} will be moved.
        price of the {x}?
        owner of the {x}?
        {Is_cap} the {x} warm or cold to the touch?
        What {Does} the {x} smell like?
        What sound {Does} the {x} make?
        {Is_cap} the {x} stolen?
        Did anyone ever repair the {x}?
        How often {Does} the {x} get cleaned?
        Who cleaned the {x} last time?
        Where were the materials for the {x} produced?
        {Is_cap} the {x} a present from somebody?
        {Does_cap} the {x} have a name?
        Who will need the {x} next?
        Tell me the story behind the {x}.
        what did they pay for the {x}
        Where {Does} the {x} usually go at night?
        Does anybody like the {x}?
        * What price would the {x} fetch?
        * To whom does the {x} belong?
        * How much does the {x} weigh?
        * What is hidden behind the {x}?
        * Since when {Is} the {x} here?
    """,
    "unanswerable_person": """
        What is the name of the {x}?
        How old is the {x}?
        How does the {x} feel?
        What is the {x} thinking about?
        Where does the {x} come from?
        Where is the {x} going?
        Why is the {x} here?
        What is the job of the {x}?
        what will the {x} do next
        Is the {x} married?
        Who is the {x}?
        What did the {x} eat today?
        What is the {x}'s name?
        Where does the {x} live?
        What does the {x} do for a living?
        Is the {x} happy with life?
        Who is the {x} waiting for?
        Where is the {x} going to go next?
        Where was the {x} an hour ago?
        What did the {x} have for breakfast?
        Does the {x} have any children?
        How much does the {x} earn?
        What languages does the {x} speak?
        What is the {x} saying?
        Is the {x} hungry?
        Is the {x} feeling ill?
        When is the {x}'s birthday?
        Which football team does the {x} support?
        Can the {x} swim?
        Do you know the {x} personally?
        Have you ever met the {x} before?
        name of the {x}?
        Could you tell me the {x}'s phone number?
        I need to know what the {x} is planning.
        Let me know when the {x} will leave.
        what job has the {x}
        Is the {x} a nice person?
        Does the {x} like this place?
        How long has the {x} been here?
        Who invited the {x}?
        Is the {x} allowed to be here?
        What's the {x}'s favorite food?
        Where did the {x} go to school?
        What nationality is the {x}?
        Is the {x} related to anyone you know?
        Does the {x} remember you?
        What kind of voice does the {x} have?
        Tell me what the {x} did last night.
        * What's the {x} called?
        * Is the {x} in a good mood?
        * What does the {x} want?
        * When did the {x} get here?
    """,
    "farthest": """
        What is farthest?
        What is farthest from you?
        Which object is the farthest away?
        what's the farthest thing
        What is the most distant object?
        Which thing is the furthest away?
        What is the farthest object you see?
        farthest object?
        Name what is farthest away.
        What is furthest from the robot?
        Which of these things is the most distant?
        Tell me what is the furthest from the camera.
        Which object has the greatest distance to you?
        What lies at the largest distance?
        What is the last object if you sort by distance?
        the most distant thing, which is it
        * Which item is the greatest distance away?
        * What in the picture is furthest off?
    """,
    "distances": """
        How far away are the {xs}?
        How far are the {xs}?
        What are the distances to the {xs}?
        how far off are the {xs}
        How far is each {x}?
        Tell me the distance of each {x}.
        Give me the distances of all {xs}.
        How close are the {xs}?
        At what distances are the {xs}?
        How many meters away are the {xs}?
        distance of every {x}?
        I need the distances to the {xs}.
        How far is each of the {xs} from you?
        Report the ranges of the {xs}.
        In meters, how far are the {xs}?
        Could you tell me how far away the {xs} are?
        * How far from here are the {xs}?
        * What range does each {x} have?
    """,
    "distance_to_nearest": """
        How far away is the nearest {x}?
        How far is the nearest {x}?
        What is the distance to the nearest {x}?
        how far is it to the nearest {x}
        How close is the nearest {x}?
        How far is the closest {x}?
        How far away is the closest {x}?
        distance to closest {x}?
        distance to nearest {x}?
        How many meters is it to the nearest {x}?
        Tell me how far the closest {x} is.
        How near is the closest {x}?
        What distance is the nearest {x} at?
        How far from you is the nearest {x}?
        How much distance is there to the closest {x}?
        Give me the range to the nearest {x}.
        In meters, how far is the nearest {x}?
        I need to know how far off the nearest {x} is.
        The nearest {x}, how far is it?
        How far do I have to go to the nearest {x}?
        * At what distance is the nearest {x}?
        * How many meters away is the {x} closest to you?
    """,
    "closer": """
        Is the {x} closer than the {y}?
        Is the {x} nearer than the {y}?
        is the {x} closer than the {y}
        Is the {x} closer to you than the {y}?
        Is the {x} nearer to you than the {y}?
        Is the {x} closer to the camera than the {y}?
        Is the {x} in front of the {y}?
        Is the distance to the {x} smaller than to the {y}?
        Do you reach the {x} before the {y}?
        Tell me if the {x} is closer than the {y}.
        Is it true that the {x} is nearer than the {y}?
        Compared to the {y}, is the {x} closer?
        I think the {x} is closer than the {y}. Is that so?
        Is the {x} less far away than the {y}?
        Could you check whether the {x} is nearer than the {y}, please?
        Does the {x} have a smaller distance than the {y}?
        Is there less distance to the {x} than to the {y}?
        * Would you say the {x} is closer than the {y}?
        * Is the {x} the nearer one, compared with the {y}?
    """,
    "farther": """
        Is the {x} farther away than the {y}?
        Is the {x} further away than the {y}?
        is the {x} farther than the {y}
        Is the {x} farther from you than the {y}?
        Is the {x} behind the {y}?
        Is the {x} more distant than the {y}?
        Is the distance to the {x} larger than to the {y}?
        Tell me if the {x} is further away than the {y}.
        Is it true that the {x} is farther off than the {y}?
        Compared to the {y}, is the {x} farther away?
        I think the {x} is farther than the {y}. Is that so?
        Is the {x} further from the camera than the {y}?
        Is there more distance to the {x} than to the {y}?
        * Would you say the {x} is farther away than the {y}?
        * Is the {x} a greater distance away than the {y}?
    """,
    "which_closer": """
        Which is closer, the {x} or the {y}?
        What is closer, the {x} or the {y}?
        Which is nearer, the {x} or the {y}?
        which one is closer, the {x} or the {y}
        Which of the two is nearer to you, the {x} or the {y}?
        Is the {x} or the {y} closer?
        What do you reach first, the {x} or the {y}?
        Tell me which is closer: the {x} or the {y}.
        Between the {x} and the {y}, which is nearer?
        Is it the {x} or the {y} that is closer to you?
        Of the {x} and the {y}, which is the closer one?
        Which has the smaller distance, the {x} or the {y}?
        What is closer to the camera, the {x} or the {y}?
        * Which one is less far away, the {x} or the {y}?
        * Are you closer to the {x} or to the {y}?
    """,
    "which_farther": """
        Which is farther away, the {x} or the {y}?
        What is further away, the {x} or the {y}?
        which one is farther, the {x} or the {y}
        Which of the two is more distant, the {x} or the {y}?
        Is the {x} or the {y} farther away?
        Tell me which is further off: the {x} or the {y}.
        Between the {x} and the {y}, which is farther?
        Of the {x} and the {y}, which is the more distant one?
        Which has the larger distance, the {x} or the {y}?
        What is farther from the camera, the {x} or the {y}?
        * Which one is the longer way off, the {x} or the {y}?
        * Are you farther from the {x} or from the {y}?
    """,
    "existence_within": """
        Is there {a_x} within {limit}?
        Are there {xs} within {limit}?
        Are there any {xs} within {limit}?
        any {xs} within {limit}?
        is there {a_x} within {limit}
        Do you see {a_x} within {limit}?
        Are any {xs} closer than {limit}?
        Is any {x} nearer than {limit}?
        Is there {a_x} less than {limit} away?
        Are there any {xs} less than {limit} away?
        Is there {a_x} in a range of {limit}?
        Have you got {a_x} within {limit} of you?
        Are there {xs} at less than {limit}?
        Tell me if there is {a_x} within {limit}.
        Check for {xs} within {limit}.
        Within {limit}, is there {a_x}?
        Is there {a_x} up to {limit} away?
        Does any {x} come closer than {limit}?
        Is there any {x} inside a radius of {limit}?
        I need to know if {a_x} is within {limit}.
        * Would there be {a_x} within {limit} of the camera?
        * Can you spot {xs} nearer than {limit}?
    """,
    "anything_within": """
        Is anything within {limit}?
        Is there anything within {limit}?
        Is anything closer than {limit}?
        Is there anything less than {limit} away?
        anything within {limit}?
        Is something nearer than {limit}?
        Are there any objects within {limit}?
        Is any object closer than {limit}?
        Is there something in a range of {limit}?
        Do you see anything within {limit} of you?
        Tell me if anything is within {limit}.
        Is there any obstacle within {limit}?
        Are there obstacles closer than {limit}?
        Is something less than {limit} in front of you?
        * Would there be any object within {limit} of the camera?
        * Does anything come nearer than {limit}?
    """,
    "anybody_within": """
        Is anybody within {limit}?
        Is anyone within {limit}?
        Is somebody closer than {limit}?
        Is there anybody less than {limit} away?
        anyone within {limit}?
        Is someone nearer than {limit}?
        Is anyone closer than {limit}?
        Do you see anybody within {limit} of you?
        Tell me if anyone is within {limit}.
        Is there somebody in a range of {limit}?
        Does anybody stand closer than {limit}?
        Is anybody at less than {limit} from you?
        * Would there be anyone within {limit} of the camera?
        * Has someone come nearer than {limit}?
    """,
    "is_within": """
        {Is_cap} the {x} within {limit}?
        {Is_cap} the {x} closer than {limit}?
        {Is_cap} the {x} nearer than {limit}?
        {Is} the {x} within {limit}
        {Is_cap} the {x} less than {limit} away?
        {Is_cap} the {x} less than {limit} from you?
        {Is_cap} the {x} within a range of {limit}?
        {Is_cap} the distance to the {x} less than {limit}?
        Tell me if the {x} {Is} within {limit}.
        {Is_cap} the {x} at most {limit} away?
        Is it less than {limit} to the {x}?
        Would you say the {x} {Is} closer than {limit}?
        {Is_cap} the {x} inside {limit}?
        I think the {x} {Is} within {limit}. Is that so?
        * Am I right that the {x} {Is} less than {limit} off?
        * {Does_cap} the {x} stay within {limit} of you?
    """,
    "is_beyond": """
        {Is_cap} the {x} more than {limit} away?
        {Is_cap} the {x} farther than {limit}?
        {Is_cap} the {x} further away than {limit}?
        {Is} the {x} more than {limit} away
        {Is_cap} the {x} beyond {limit}?
        {Is_cap} the {x} at least {limit} away?
        {Is_cap} the {x} over {limit} from you?
        {Is_cap} the distance to the {x} more than {limit}?
        Tell me if the {x} {Is} farther than {limit}.
        Is it more than {limit} to the {x}?
        * Am I right that the {x} {Is} more than {limit} off?
        * Would it be over {limit} to the {x}?
    """,
    "count_within": """
        How many {xs} are within {limit}?
        How many {xs} are closer than {limit}?
        How many {xs} do you see within {limit}?
        how many {xs} within {limit}
        Count the {xs} within {limit}.
        How many {xs} are less than {limit} away?
        How many {xs} are nearer than {limit}?
        How many {xs} are there in a range of {limit}?
        What's the number of {xs} within {limit}?
        Within {limit}, how many {xs} are there?
        How many of the {xs} are within {limit}?
        Tell me how many {xs} are closer than {limit}.
        Number of {xs} less than {limit} away?
        * Please give me a count of the {xs} within {limit}.
        * How many {xs} would be nearer than {limit}?
    """,
}
WORDINGS = {name: _table(text) for name, text in _TABLES.items()}


_BRITISH_SPELLING = {"color": "colour", "Color": "Colour", "meter": "metre", "gray": "grey"}


def british(text: str) -> str:
    """Spell a text as in British English."""
    for american, spelling in _BRITISH_SPELLING.items():
        text = text.replace(american, spelling)
    return text


def wording(name: str, split: Split, choice: float, fields: Mapping[str, str]) -> str:
    """Put one question, or one part of it.

    Args:
        name: Which, such as `count`.
        split: Whose wordings to choose from.
        choice: From 0 to below 1, which of them.
        fields: What to fill in.

    Returns:
        The text.
    """
    templates = WORDINGS[name].of(split)
    return templates[int(choice * len(templates))].format(**fields)
