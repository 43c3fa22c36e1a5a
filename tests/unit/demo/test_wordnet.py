"""Lines of WordNet's data files, as wndb(5WN) describes them."""

from __future__ import annotations

import pytest
from demo.models.wordnet import Synset, parse_synset

DOG = (
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 02083346 n 0000 ~ 01322604 n 0000 | "
    'a member of the genus Canis that has been domesticated; "the dog barked all night"  '
)
BREATHE = (
    "00001740 29 v 02 breathe 0 respire 3 001 * 00005041 v 0000 02 + 02 00 + 08 00 | "
    'draw air into, and expel out of, the lungs; "I can breathe better"; "The patient is respiring"  '
)
ABLE = (
    '00001740 00 a 01 able(p) 0 001 = 05200169 n 0000 | (usually followed by `to\') having the means; "able to swim"  '
)


@pytest.mark.parametrize(
    ("line", "part_of_speech", "synset"),
    [
        (
            DOG,
            "noun",
            Synset(
                ("dog", "domestic dog", "Canis familiaris"),
                "a member of the genus Canis that has been domesticated",
                "noun",
                "animal",
            ),
        ),
        (BREATHE, "verb", Synset(("breathe", "respire"), "draw air into, and expel out of, the lungs", "verb", None)),
        (ABLE, "adjective", Synset(("able",), "(usually followed by `to') having the means", "adjective", None)),
    ],
)
def test_a_line_is_a_meaning_without_its_examples(line: str, part_of_speech: str, synset: Synset) -> None:
    assert parse_synset(line, part_of_speech) == synset


def test_one_definition_in_twenty_is_held_out_for_good() -> None:
    glosses = [Synset(("w",), f"definition {number}", "noun", None).held_out for number in range(2000)]
    assert 60 < sum(glosses) < 140
    assert glosses == [Synset(("x",), f"definition {number}", "verb", None).held_out for number in range(2000)]
