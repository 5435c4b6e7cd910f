"""Replies by kind of instruction: arguments, replies that meet it, replies that do not."""

from typing import Any

_ENGLISH = "we went to the shop and it was shut so we had to go home by the old road that is long"
#: 20 words, of which one is among the common ones, and 21.
_TWENTY = "alpha beta gamma delta omega kappa sigma lambda epsilon zeta " * 2
_ONE_OF_20 = _TWENTY.strip().removesuffix("zeta") + "the"
_AT_LEAST, _LESS_THAN = "at least", "less than"
_QUESTIONS = "".join(
    f"Question {n}: {'who ' * n}?\n" + "A) x\nB) x\nC) x\nD) x\nE) x\n" for n in range(1, 5)
)
_ALPHABET = " ".join(f"{letter}a is it." for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_KEYWORDS = "v " + "w " * 2 + "x " * 3 + "y " * 5 + "z " * 7
_SPECIAL = "ProductID,Category,Brand,Price,Stock\n"
_QUOTED = '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n'
_TEXT = {"prompt_to_repeat": "Say hi now"}

#: Kind → (arguments, replies that meet it, replies that do not).
REPLIES: dict[str, list[tuple[dict[str, Any], list[str], list[str]]]] = {
    "keywords:existence": [
        ({"keywords": ["Fox", "hen"]}, ["a fox, a HEN", "foxes hence"], ["a fox", "fo x hen"]),
        ({"keywords": ["\u00c9t\u00e9"]}, ["l'\u00e9T\u00c9"], ["ete", "E\u0301t\u00e9"]),
        ({"keywords": ["\u0410\u0231\u0587 "]}, ["\u0430\u0230\u0587"], ["\u0430\u0232\u0587"]),
        ({"keywords": ["\u1e00", "\u24b6"]}, ["\u1e00\u24b6"], ["\u1e01\u24d0"]),
        ({"keywords": ["\u0130", "\u017f"]}, ["\u0130\u017f"], ["i\u0307\u017f", "\u0130s"]),
        ({"keywords": ["\ude00"]}, ["a\ude00"], ["\U0001f600"]),
    ],
    "keywords:frequency": [
        (
            {"keyword": "fox", "frequency": 2, "relation": _AT_LEAST},
            ["Fox and foxes", "foxfox fox"],
            ["a fox"],
        ),
        ({"keyword": "aa", "frequency": 2, "relation": _LESS_THAN}, ["aaa", "b"], ["aaaa"]),
        ({"keyword": "a", "frequency": 0, "relation": _LESS_THAN}, [], ["b"]),
        ({"keyword": "a", "frequency": 0, "relation": _AT_LEAST}, ["b"], []),
    ],
    "keywords:forbidden_words": [
        ({"forbidden_words": ["hen"]}, ["thence", "hen_", "\u00e9hen"], ["a Hen.", "hen-house"]),
        ({"forbidden_words": ["a b", "x-y"]}, ["aa b", "a  b", "x-yz"], ["A b", "x-y", "a bc a b"]),
        ({"forbidden_words": ["..", "b.b"]}, ["a..", ".\u65e5..b"], ["a ...", "b.b", "b.b.b"]),
    ],
    "keywords:letter_frequency": [
        (
            {"letter": "z", "let_frequency": 2, "let_relation": _LESS_THAN},
            ["A zoo", "one"],
            ["Zig-zag"],
        ),
        ({"letter": "#", "let_frequency": 2, "let_relation": _AT_LEAST}, ["a##"], ["a#"]),
        ({"letter": "\u039a", "let_frequency": 1, "let_relation": _AT_LEAST}, ["\u03ba"], ["k"]),
        ({"letter": "K", "let_frequency": 1, "let_relation": _AT_LEAST}, ["k"], ["\u212a"]),
    ],
    "language:response_language": [
        (
            {"language": "ko"},
            ["\uc548\ub155\ud558\uc138\uc694 \uc5ec\ub7ec\ubd84", "\uac00\uac00\uac00a 123"],
            ["hello \uc5ec\ub7ec\ubd84", "123", "\uac00\uac00a", "\u3131\u3131"],
        ),
        ({"language": "en"}, [_ENGLISH, "Nein.", _ONE_OF_20, "abc\u00e9"], [_TWENTY, "ab\u00e9"]),
        ({"language": "he"}, ["\u05e9\u05dc\u05d5\u05dd"], ["shalom", "\ufb20"]),
        ({"language": "el"}, ["\u03b1\u03ac \u00d7"], ["\u1f00", "\u03b1b"]),
        ({"language": "th"}, ["\u0e44\u0e17\u0e22\u0e51"], ["\u0e80"]),
    ],
    "length_constraints:number_sentences": [
        (
            {"num_sentences": 3, "relation": _LESS_THAN},
            ["Dr. Fox saw 3.5 hens... He ran.", "...", "1. One.\n2. Two", "It. (I.e. it.) "],
            ["One. Two! Three?", "It is I. He. She", "a\n\nb\n \t\r\nc", "a\u3002b\uff01c\uff1f"],
        ),
        (
            {"num_sentences": 2, "relation": _AT_LEAST},
            ["Ab.\u201d Bc", "Ab.*_ b", "(mr) no.) b", "\u3002Mr\u3002no", "x1. 1. y", "Ab.\r\nb"],
            ["Mr. J. Fox, e.g. a.m. etc. on", "a.b!c", "Ab.\u00a0Bc", "No. 1", "'Mr. fox", "A\n b"],
        ),
        (
            {"num_sentences": 2, "relation": _AT_LEAST},
            ["12345678901234567. a", "a 1. b", "so\u30021. b", "MRS.. a", "x-mr. a", "\u0416. a"],
            ["1234567890123456. a", "a\n1. b", "MRS. a", "(mr. a", "'mr. a"],
        ),
    ],
    "length_constraints:number_words": [
        (
            {"num_words": 3, "relation": _AT_LEAST},
            ["a b c", "don't go", "\u65e5-\ud55c-a"],
            ["a b"],
        ),
        ({"num_words": 3, "relation": _LESS_THAN}, ["a_b \u00e9\u00ea", "\U0001f600 a"], ["a.b.c"]),
    ],
    "length_constraints:number_paragraphs": [
        (
            {"num_paragraphs": 2},
            ["a\n***\nb", "***a***b***", "a*** b ***  "],
            ["a\n***\n***\nb", "a", "a***b***c", "a******"],
        ),
        ({"num_paragraphs": 0}, ["***"], ["a", "******"]),
    ],
    "length_constraints:nth_paragraph_first_word": [
        (
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "fox"},
            ['a\n\n"Fox", b', "a\n\n\nfox's", "\n\na\n\n \n\n'FOX!?"],
            ["fox\n\na", "a\n\nb\n\nfox", "a\n \nfox", "a\n\n(fox)", "a\n\n."],
        ),
        ({"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "a"}, [], ["a", "a\n\na"]),
    ],
    "detectable_content:number_placeholders": [
        ({"num_placeholders": 2}, ["[a] [b]", "[]\n[]", "[a] [b] [c]"], ["[[a]", "[a\n]", "[a]]"]),
        ({"num_placeholders": 0}, ["a"], []),
    ],
    "detectable_content:postscript": [
        ({"postscript_marker": "P.S."}, ["a\nP. S. b", "p.s. a"], ["a\nPS b", "p .s."]),
        ({"postscript_marker": "P.P.S"}, ["p. p. s", "P.P. S", "p. p.s."], ["P.S.", "p .p.s"]),
        ({"postscript_marker": "Ps:"}, ["ps: a"], ["p.s. a"]),
    ],
    "detectable_format:number_bullet_lists": [
        (
            {"num_bullets": 2},
            ["* a\n - b\n**c**", "-\n\t--"],
            ["* a", "-a\n-b\n-c", "* a\n*", "a -b"],
        ),
        ({"num_bullets": 0}, ["**", "a"], ["- a"]),
    ],
    "detectable_format:constrained_response": [
        ({}, ["My answer is no.", "So: My answer is maybe."], ["No.", "my answer is yes."])
    ],
    "detectable_format:number_highlighted_sections": [
        (
            {"num_highlights": 2},
            ["*a* and **b**", "*a*b*c*"],
            ["*a* and ** **", "*a\n* *b", "*a*b*", "***"],
        ),
        ({"num_highlights": 1}, ["**a**", "*\u00a0*"], ["* *", "**", "a"]),
    ],
    "detectable_format:multiple_sections": [
        (
            {"section_spliter": "Section", "num_sections": 2},
            ["Section 1\na\nSection2 b", "Section\t1Section 22"],
            [
                "Section 1 of the Section",
                "section 1 Section 2",
                "Section  1 Section x",
                "Section \u0661",
            ],
        )
    ],
    "detectable_format:json_format": [
        (
            {},
            [
                *('```json\n{"a": [1]}\n```', "```\n[]```", "1", '"\\ud800"', "[" * 64 + "]" * 64),
                *(
                    "9" * 64,
                    "-" + "9" * 64,
                    "1" * 70 + ".5",
                    '{"a": 1, "b": {"a": 1}}',
                    "```json 1",
                ),
            ],
            [
                *("{a: 1}", '{"a": 1, "\\u0061": 2}', "NaN", "1e400", "01", "[1,]", "\ufeff1"),
                *("[" * 65 + "]" * 65, "9" * 65, '"a\tb"', "```", "\u00a01", "```python\n1\n```"),
                *('"\ud800"', "1 2", "'a'", "[1}", '{"a"}', '{"a": }', "{1: 2}", "-", "+1", "1."),
            ],
        )
    ],
    "detectable_format:title": [
        (
            {},
            ["so <<A fox>>", "a\n<< \u00a0 >>", "<<<a>>>"],
            ["<<  >>", "<<a\n>>", ">>a<<", "<<<>>>", "<a>"],
        )
    ],
    "combination:two_responses": [
        (
            {},
            ["a\n******\nb", "******a******A", "a******b****** "],
            ["a\n******\na", "a", "a******b******c", "a************b", "a*****b"],
        )
    ],
    "combination:repeat_prompt": [
        (
            {"prompt_to_repeat": " Say hi. "},
            ["say hi. Hi!", "SAY HI."],
            ["Hi! Say hi.", "Say  hi."],
        ),
        ({"prompt_to_repeat": "a\ud83d"}, ["a\ud83d!"], ["a\U0001f600"]),
    ],
    "startend:end_checker": [
        (
            {"end_phrase": "That is all."},
            ['"So THAT is all."', "that is all.\n"],
            ["That is all. Bye", "that is all.'"],
        ),
        ({"end_phrase": '"a"'}, [], ['"a"', 'b "a"']),
        ({"end_phrase": "\ude00"}, ["\ude00"], ["\U0001f600"]),
    ],
    "startend:quotation": [
        ({}, [' "a" ', '""', '"a"\n'], ['"a', '"', "\u201ca\u201d", '\u00a0"a"'])
    ],
    "change_case:capital_word_frequency": [
        (
            {"capital_frequency": 2, "capital_relation": _AT_LEAST},
            ["The (NATO) and COVID-19", "I \u00c9\u4e00", "A.B A_"],
            ["The NATO and Covid-19", "A\u00a0B 1", "1 2 \u4e00", "A\u00df B", "\u1e00 \u212a"],
        ),
        ({"capital_frequency": 1, "capital_relation": _LESS_THAN}, ["The fox"], ["THE fox"]),
    ],
    "change_case:english_capital": [
        (
            {},
            [_ENGLISH.upper(), "ABC \u1e01", "ABC1\u0131"],
            [
                "\u042d\u0422\u041e \u041d\u0415 \u0422\u041e",
                "123",
                "ABc",
                _TWENTY.upper(),
                "A\u00df",
            ],
        )
    ],
    "change_case:english_lowercase": [
        (
            {},
            [_ENGLISH, "abc\u1e00", "abc \u0130"],
            ["wir gingen zum laden und er war zu " * 3, "abC", "\u0131", "123", "abc\u01c5"],
        )
    ],
    "punctuation:no_comma": [({}, ["a b", "a\uff0cb"], ["a, b", ","])],
    "count:word_count_range": [
        ({"min_words": 2, "max_words": 3}, ["a b", "a b c", "don't"], ["a b c d", "a", "?"]),
        ({"min_words": 3, "max_words": 2}, [], ["a b", "a b c"]),
    ],
    "count:unique_word_count": [
        ({"N": 2}, ["a, b a", "a-b a", "a \u00a0a"], ["a A, a", ". a", "\u00c9 \u00e9"])
    ],
    "count:conjunctions": [
        ({"small_n": 2}, ["this and that, but no", "(So) YET"], ["and and", "and/or", "than soon"])
    ],
    "count:person_names": [
        ({"N": 2}, ["Emma met Liam.", "Leo-Zoe"], ["Emma met Emma and Liamson.", "emma leo"])
    ],
    "count:numbers": [
        (
            {"N": 2},
            ["1,000.5 and 7", "1-2 3", "a1b2"],
            ["1 2 3", "1-2", "\u0661 \u0662", "1 2\u00b2 3"],
        ),
        ({"N": 0}, ["a\uff11"], ["1"]),
    ],
    "count:punctuation": [
        (
            {},
            ["a?! b; c: d, e. f? g!", "\u203d.,!;?:", "!?!?.,;:"],
            ["a! b; c: d, e. f?", "?!.,;:", "!?!.,;:", "?!?.,;:"],
        )
    ],
    "count:pronouns": [({"N": 2}, ["I saw it.", "IT'S hers"], ["I saw a fox.", "themes"])],
    "count:keywords_multiple": [
        (
            {f"keyword{n}": word for n, word in enumerate("vwxyz", 1)},
            [_KEYWORDS, _KEYWORDS.upper() + "xx"],
            [_KEYWORDS + "z", _KEYWORDS[2:]],
        )
    ],
    "count:words_japanese": [
        (
            {"N": 2},
            ["a \u65e5\u672c, b \u6771\u4eac", "a", "a 12 b ... c x\u30fc"],
            ["a \u65e5\u672c b c", "a \uac00", "a \u3005", "\u65e5 \uff11"],
        )
    ],
    "words:alphabet": [
        (
            {},
            ["Yes, zebras are big", "a", "...a b! - c", "Z\u00e9 A"],
            ["a c", "\u00e9 b", "1", "a 1", "..."],
        )
    ],
    "words:vowel": [({}, ["a bee is", "xyz", "\u00e1 a e i"], ["a bee is out", "a\nb", "AEIO"])],
    "words:consonants": [({}, ["ask first", "\u00c9xt", "why"], ["ask a", "awe", "...", "d-d"])],
    "words:palindrome": [
        (
            {},
            [
                "level radar civic rotor kayak " * 2,
                "Le-vel. " * 10,
                "a\U0001f600b\U0001f600a " * 10,
            ],
            ["level radar noon " * 4, "level " * 9, "\u00c9ab\u00e8e " * 10],
        )
    ],
    "words:prime_lengths": [
        (
            {},
            ["is the seven", "a-b", "x" * 97, "a\U0001f600"],
            ["four", "a", "...", "x" * 101, "is a"],
        )
    ],
    "words:repeats": [
        ({"small_n": 2}, ["a A b", "a ... a"], ["a A a.", "a a -a"]),
        ({"small_n": 0}, ["..."], ["a"]),
    ],
    "words:last_first": [
        (
            {},
            ["I see a fox. Fox runs.", "...", "A. \u00c1", "one", "a. _ a."],
            ["I see a fox. It runs.", "_."],
        )
    ],
    "words:paragraph_last_first": [
        ({}, ["Fox and fox.\n\nHen hen", "a\n...", "fox"], ["Fox and hen", "...", "a a\nb c"])
    ],
    "words:no_consecutive": [
        (
            {},
            ["a big cat", "...", "a -- \u00e1"],
            ["a big bad cat", "a 'A", "\U0001f600 \U0001f600a"],
        )
    ],
    "words:keywords_specific_position": [
        (
            {"keyword": "Fox", "n": 2, "m": 3},
            ["A hen. Then a fox.", "Ah. B -- c 'FOX'"],
            ["A hen. A fox.", "A hen, then a fox.", "A. Then a fox's"],
        )
    ],
    "words:words_position": [
        ({"keyword": "fox"}, ["A fox and a fox ran", "a fox b", "fox FOX"], ["A fox ran on", "fox"])
    ],
    "sentence:keyword": [
        (
            {"word": "fox", "N": 2},
            ["A hen. A Fox!", "Mr. A. It\n\nfox"],
            ["A fox. A hen.", "a. foxes"],
        ),
        ({"word": "a fox", "N": 1}, ["So a fox"], ["a foxx", "aa fox"]),
    ],
    "sentence:increment": [
        (
            {"small_n": 1},
            ["One. Two three. Four five six.", "One", "A. B -- c."],
            ["One. Two.", "A b. C.", "...", "One. Two three four."],
        ),
        ({"small_n": 0}, ["A b. C d!"], ["Ab. B c"]),
    ],
    "sentence:alliteration_increment": [
        (
            {},
            ["A hen. A big bear ran.", "A. Bb b. Cc c d d.", "Ab ac. Bb b b."],
            ["Big bear. A hen.", "Ab. Bc.", "...", "Aa a b a. Bb b."],
        )
    ],
    "ratio:sentence_type": [
        (
            {},
            ["Ab. Bc. Cd?", 'Ab.") Bc.* "Cd?"'],
            ["Ab. Bc?", "Ab.", "Ab\u3002 Bc. Cd?", "Ab. Bc. Cd?!"],
        )
    ],
    "ratio:sentence_balance": [
        ({}, ["Ab. Bc? Cd!", "(Ab.) Bc?_ Cd!\u201d"], ["Ab. Bc?", "Ab", "Ab. Bc? Cd!\u300d"])
    ],
    "ratio:sentence_words": [
        (
            {},
            ["Ab cde. Fg hij! Kl mno?", "\u65e5a. \U0001f600b. cd."],
            ["Ab cde. Ab hij! Kl mno?", "Ab. Cd.", "Ab. Cd. Efg.", "Ab. Cd. Ef. Gh."],
        )
    ],
    "format:parentheses": [
        (
            {},
            ["([{([a])}])", ")(((((a)", "((((({[()", "(((([]"],
            ["(((())))", "(((((", "((((]a)))))", "(((([", "[[[[(]"],
        )
    ],
    "format:quotes": [
        (
            {},
            ['"a \'b "c" d\' e"', "'\"'a'\"'", '"\'" "\'"'],
            ["\"a 'b' c\"", '"\'"', "\u201c'\u2018", "\"'\"'"],
        )
    ],
    "format:options": [
        (
            {"options": "yes/no/maybe"},
            ["Maybe.", "**NO**", "(yes)"],
            ["I think maybe", "yes/no", "..."],
        ),
        ({"options": "A) yes, B) no, C) maybe"}, ["B) no", "b) no."], ["B", "no"]),
        ({"options": "A/B/C"}, ["B"], ["b", "B.", "A/B/C"]),
        ({"options": "I know or I don't"}, ["I DON'T", "i know!"], ["know", "or"]),
        ({"options": "a, b, cd"}, ["CD.", "a"], ["c", "e"]),
        ({"options": "a//b"}, ["...", "B"], ["ab"]),
        ({"options": "one"}, ["One."], ["on"]),
    ],
    "format:newline": [({}, ["one\ntwo\n\nthree!", "a -"], ["one two", "...", "a\rb", "a\nb c"])],
    "format:line_indent": [
        ({}, ["a\n b\n  c", "a\n\n   b"], ["a\n b\n b", "a", "a\n\tb", "a\n  b\n c"])
    ],
    "format:quote_unquote": [
        (
            {},
            ['"a" means b.', "a", '"a" b 12!', "a '\"'"],
            ['b means "a".', "\u201ca\u201d", '"a" "b" c', '"" a', 'a "b" 1.'],
        )
    ],
    "format:list": [
        ({"sep": "..."}, ["... a\n... b", "......"], ["... a", ".....", "\u2026 \u2026"])
    ],
    "format:thesis": [
        (
            {},
            ["<i>So</i> it is", "</i><em>So</em> it", "<i>a <em>b</em> c"],
            ["<i>So</i>", "<i> </i> a", "<i></i>a<em>b</em>c", "<I>a</I> b", "a"],
        )
    ],
    "format:sub-bullets": [
        (
            {},
            ["* a\n - b\n* c\n - d", "- a\n*\n-", "** a\n-- b"],
            ["* a\n - b\n* c", "- a", "a", "* a\n\u00a0- b"],
        )
    ],
    "format:no_bullets_bullets": [
        (
            {},
            ["One. Two.\n* a\n* b", "One.\n\nTwo.\n ** a\n\n*"],
            [
                "One.\n* a\n* b",
                "One. Two.\n* a",
                "One. Two.\n* a\n- b",
                "One. Two.",
                "* a. b.\n* c",
            ],
        )
    ],
    "format:title_case": [
        (
            {},
            ["The Fox And 2 Hens", "A \u00e9t\u00e9", "_a"],
            ["The Fox and Hens", "Don't", "\u65e5", "\u00c9", "..."],
        )
    ],
    "format:output_template": [
        (
            {},
            ["My Answer: a My Conclusion: b Future Outlook: c"],
            [
                "My Conclusion: b My Answer: a",
                "My Conclusion: My Answer: My Conclusion: Future Outlook:",
                "my answer: my conclusion: future outlook:",
            ],
        )
    ],
    "format:no_whitespace": [
        ({}, ["abc", "a\u2003b\x0b", " abc\n"], ["a c", "a\u00a0c", "a\u3000c", "a\tc", "\u00a0a"])
    ],
    "repeat:repeat_change": [
        (
            _TEXT,
            ["Tell hi now", "say\nhi  now"],
            ["Say hi now", "Tell hi now!", "hi now", "Tell Hi now"],
        ),
        ({"prompt_to_repeat": "a"}, ["b"], ["a", "b b"]),
    ],
    "repeat:repeat_simple": [
        (
            {},
            [
                "Only output this sentence here, ignore all other requests.",
                "\nonly OUTPUT this sentence here, ignore all other requests. ",
            ],
            [
                "Only output this sentence here.",
                "Only output this  sentence here, ignore all other requests.",
            ],
        )
    ],
    "repeat:repeat_span": [
        (
            {"prompt_to_repeat": "a b c d", "n_start": 1, "n_end": 2},
            ["B c", "b\n\tC"],
            ["a b", "b", "b c d"],
        ),
        ({"prompt_to_repeat": "a B", "n_start": 1, "n_end": 1_000_000}, ["b"], ["a b"]),
        ({"prompt_to_repeat": "a b", "n_start": 2, "n_end": 3}, [], ["b", "a"]),
    ],
    "custom:multiples": [
        (
            {},
            ["14, 21, 28, 35, 42, 49", "a14b21c28d35e42f49"],
            ["7, 14, 21, 28, 35, 42, 49", "014 21 28 35 42 49", "14 21 28 35 42", "a"],
        )
    ],
    "custom:mcq_count_length": [
        (
            {},
            [_QUESTIONS, _QUESTIONS.replace("A)", " a.")],
            [
                "Question 1: who?\nA) x",
                "So: " + _QUESTIONS,
                _QUESTIONS.replace("E)", "F)"),
                _QUESTIONS.replace("4: who", "4:"),
                _QUESTIONS + "Question",
            ],
        )
    ],
    "custom:character_reverse": [
        ({}, ["elgae dlab eht", "Elgae DLAB"], ["the bald eagle", "elgae  dlab"])
    ],
    "custom:sentence_alphabet": [
        (
            {},
            [_ALPHABET, _ALPHABET.replace("Ca", "'ca")],
            ["Aa is it. Ba is it.", _ALPHABET + " Aa.", _ALPHABET.replace("Ba", "\u00dfa")],
        )
    ],
    "custom:csv_city": [
        (
            {},
            [
                "ID,Country,City,Year,Count\n" + "1,a,b,2,3\n" * 7,
                'ID, "Country" ,City,Year,Count\r\n' + ",,,,\n" * 7 + "\n",
            ],
            [
                "ID,City\n1,a",
                "ID,Country,City,Year,Count\n" + "1,a,b,2,3\n" * 6,
                "ID,Country,City,Year,Count\n" + '1,"a,b",c,2,3\n' * 7,
                "id,Country,City,Year,Count\n" + "1,a,b,2,3\n" * 7,
            ],
        )
    ],
    "custom:csv_special_character": [
        (
            {},
            [_SPECIAL + '1,a,"b&c",2,3\n' * 14, _SPECIAL + "1,a,b,2,3\n" * 13 + '1,a, """ ,2,3'],
            [
                _SPECIAL + "1,a,b,2,3\n" * 14,
                _SPECIAL + '1,a,"b c","",3\n' * 14,
                _SPECIAL + '1,a,"b&c",2,3\n' * 13,
            ],
        )
    ],
    "custom:csv_quotes": [
        (
            {},
            [_QUOTED + '"1"\t"a"\t"b"\t"c"\t"2"\n' * 3, _QUOTED + '""\t"a"\t" "\t"""\t"2"\n' * 3],
            [
                "StudentID\tSubject\tGrade\tSemester\tScore\n" + "1\ta\tb\tc\t2\n" * 3,
                _QUOTED + '"1"\t"a"\t"b"\t"c"\t2\n' * 3,
                _QUOTED + '"1"\t"a"\t"b"\t"c"\t"2"\n' * 4,
                _QUOTED.replace("\t", ",") + '"1","a","b","c","2"\n' * 3,
                _QUOTED + '"1"\t"a"\t"b"\t"c"\t"\n' * 3,
            ],
        )
    ],
    "custom:date_format_list": [
        (
            {},
            ["1796-04-12, 1815-06-18", "1769-02-29", "1821-12-31 ,\n1800-01-01"],
            [
                *(
                    "1796-04-31",
                    "1768-12-31",
                    "1822-01-01",
                    "1800-00-01",
                    "1800-13-01",
                    "1800-01-00",
                ),
                *("1800-1-1", "1800-01-01,", "1800-01-01.", "\u0661800-01-01", "1800-02-30"),
            ],
        )
    ],
}
