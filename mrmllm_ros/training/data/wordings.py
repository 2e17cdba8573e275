# SPDX-License-Identifier: Apache-2.0
"""How people put their questions: some ways for training, others for evaluation only.

Fields of the templates, for the objects asked about: `x` dog, `xs` dogs, `a_x` a dog, `Is` and
`Does` the verbs that agree with `x`, `y` a second object; `red_x`, `red_xs` and `a_red_x` the same
with a colour; `on_side` "on the left", `colour`, `state`, `relation` such as "left of".
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
        * {Does_cap} the {x} appear {relation} the {y}?
        * Check whether the {x} {Is} {relation} the {y}.
    """,
    "which_relation": """
        {Is_cap} the {x} {relation} the {y}?
        {Is_cap} the {x} to the {relation} the {y}?
        {Is} the {x} {relation} the {y}
        Tell me whether the {x} {Is} {relation} the {y}.
        Would you say the {x} {Is} {relation} the {y}?
        Do you see the {x} {relation} the {y}?
        In the picture, {Is} the {x} {relation} the {y}?
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
        * Which object takes up most of the view?
        * What fills the picture most?
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
        * Which object takes up least of the view?
        * What fills the picture least?
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
        * What would you bump into first?
        * Which thing could you touch first?
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
        * Of all the {xs}, which is nearest to the camera?
        * Which {x} would you reach first?
    """,
    "distance": """
        How far away {Is} the {x}?
        How far {Is} the {x}?
        What is the distance to the {x}?
        how far is it to the {x}
        How many metres away {Is} the {x}?
        Tell me the distance of the {x}.
        How close {Is} the {x}?
        * How many metres is it from you to the {x}?
        * At what distance {Is} the {x}?
    """,
    "colour": """
        What colour {Is} the {x}?
        What is the colour of the {x}?
        what color {Is} the {x}
        Which colour {Does} the {x} have?
        Tell me the colour of the {x}.
        What colour do you see on the {x}?
        Can you tell the colour of the {x}?
        * In what colour {Does} the {x} come?
        * How would you describe the {x}'s colour?
    """,
    "colour_worn": """
        What colour is the {x} wearing?
        what color does the {x} wear
        Which colour are the {x}'s clothes?
        What colour is the {x} dressed in?
        What colour are the clothes of the {x}?
        Tell me the colour that the {x} wears.
        * In which colour is the {x} clothed?
        * How would you describe the colour of the {x}'s outfit?
    """,
    "colours": """
        What colour are the {xs}?
        What colours are the {xs}?
        what color are the {xs}
        Which colours do the {xs} have?
        Tell me the colours of the {xs}.
        What are the colours of the {xs}?
        * In what colours do the {xs} come?
        * How would you describe the colours of the {xs}?
    """,
    "colours_worn": """
        What colour are the {xs} wearing?
        What colours are the {xs} wearing?
        what color do the {xs} wear
        Which colours are the {xs} dressed in?
        What colours are the clothes of the {xs}?
        Tell me the colours that the {xs} wear.
        * In which colours are the {xs} clothed?
        * How would you describe the colours that the {xs} have on?
    """,
    "is_colour": """
        {Is_cap} the {x} {colour}?
        {Is} the {x} {colour}
        {Is_cap} that {x} {colour}?
        {Does_cap} the {x} look {colour}?
        {Does_cap} the {x} have a {colour} colour?
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
        * Could you put the view into words?
        * Paint me a picture of what is there.
    """,
    "which_colour": """
        Which {x} is {colour}?
        Which of the {xs} is {colour}?
        which {x} is {colour}
        Which one is the {red_x}?
        Which {x} has the colour {colour}?
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
        * What's the {x} called?
        * Is the {x} in a good mood?
        * What does the {x} want?
        * When did the {x} get here?
    """,
}
WORDINGS = {name: _table(text) for name, text in _TABLES.items()}


def wording(name: str, split: Split, choice: float, fields: Mapping[str, str]) -> str:
    """Put one question.

    Args:
        name: Which, such as `count`.
        split: Whose wordings to choose from.
        choice: From 0 to below 1, which of them.
        fields: What to fill in.

    Returns:
        The question.
    """
    templates = WORDINGS[name].of(split)
    return templates[int(choice * len(templates))].format(**fields)
