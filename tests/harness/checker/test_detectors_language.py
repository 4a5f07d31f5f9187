"""Another language in an answer is found where it leaked, and not where it was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.reply import ANSWERED, Reply
from harness.checker.asked import Asked
from harness.checker.detectors_language import FEWEST, IN_A_ROW, MUCH, leak, stray
from harness.checker.scripts import NAMED, SCRIPTS, letters

ENGLISH = (
    "A binary search halves the interval in every step. It compares the middle element with the "
    "value that is sought and goes on in the half that may hold it. The list must be sorted. "
)
CHINESE = "二分查找每一步都把区间减半，把中间的元素与要找的值比较，然后在可能包含它的那一半继续。"
JAPANESE = "二分探索はステップごとに区間を半分にし、まんなかの要素とさがしている値をくらべます。"
RUSSIAN = "Двоичный поиск на каждом шаге делит отрезок пополам и сравнивает средний элемент. "
ARABIC = "يقسم البحث الثنائي المجال إلى نصفين في كل خطوة ويقارن العنصر الأوسط بالقيمة المطلوبة. "
KOREAN = "이진 탐색은 매 단계마다 구간을 절반으로 나누고 가운데 원소를 찾는 값과 비교합니다. "


def found(content: str, prompt: str, **parts: Any) -> tuple[str | None, str | None]:
    """A leak, and strays."""
    asked = Asked(messages=[{"role": "user", "content": prompt, **parts}], tools=None)
    reply = Reply(outcome=ANSWERED, content=content, finish_reason="stop")
    return leak(reply, asked), stray(reply, asked)


@pytest.mark.parametrize("message", [5, None, "Hi", ["content"], {"content": 5}])
def test_what_is_no_message_ends_nothing_and_is_no_picture(message: Any) -> None:
    asked = Asked(messages=[message, {"role": "user", "content": "Hi"}], tools=None)
    assert asked.text_alone
    assert leak(Reply(outcome=ANSWERED, content=CHINESE, finish_reason="stop"), asked) is not None


@pytest.mark.parametrize(
    ("prompt", "content", "script"),
    [
        ("How does binary search work?", CHINESE, "Han"),
        ("How does binary search work?", ENGLISH + "所以说，这个算法的时间复杂度是对数的。", "Han"),
        ("How does binary search work?", ENGLISH + RUSSIAN, "Cyrillic"),
        ("How does binary search work?", ENGLISH + ARABIC, "Arabic"),
        ("Wie arbeitet die binäre Suche?", KOREAN, "Hangul"),
        ("二分查找是什么？", CHINESE + JAPANESE, "Kana"),
        ("二分查找是什么？", CHINESE + RUSSIAN, "Cyrillic"),
        ("二分探索とは何ですか。", JAPANESE + KOREAN, "Hangul"),
        ("Как работает двоичный поиск?", RUSSIAN + CHINESE, "Han"),
        ("Which programming languages are old?", CHINESE, "Han"),
        ("What is A・B？ And 、。⺀ー٪؟", JAPANESE, "Kana"),  # signs are no letters
        ("Solve x^2 = 2.", "x = ±√2。因此方程有两个实数根，它们互为相反数。", "Han"),
        (
            "Write a loop.",
            "```python\nfor i in x: pass\n```\n这段代码遍历了列表中的每一个元素",
            "Han",
        ),
        ("How does it work?", ENGLISH * 40 + CHINESE, "Han"),  # a sentence in a long answer
    ],
)
def test_another_language_is_found(prompt: str, content: str, script: str) -> None:
    leaked, strayed = found(content, prompt)
    assert leaked is not None
    assert f" are {script}: " in leaked
    assert strayed is None or script == "Kana"  # and kanji beside them


def test_the_evidence_is_where_it_stands() -> None:
    evidence, _ = found(ENGLISH + "因此时间复杂度是对数级别的。" + ENGLISH, "How does it work?")
    assert str(evidence).startswith(
        "13 of 295 letters are Han: 因此时间复杂度是对数级别的。A binary"
    )


@pytest.mark.parametrize(
    ("prompt", "content"),
    [
        ("Who leads China?", CHINESE),
        ("Translate 'binary search' into Chinese.", CHINESE),
        ("How do you say it in Japanese?", JAPANESE),
        ("Traduis en russe: la recherche binaire", RUSSIAN),
        ("Write it in Arabic, please", ARABIC),
        ("用俄语解释二分查找", RUSSIAN),
        ("用日语解释二分查找", JAPANESE),
        ("请用韩语回答", KOREAN),
        ("日本語から韓国語に訳して", KOREAN),
        ("Объясни по-китайски", CHINESE),
        ("Say hello in ten languages", CHINESE + RUSSIAN + ARABIC),
        ("What does 二 mean?", CHINESE),
        ("Что это?", RUSSIAN),
        ("这是什么？", CHINESE),
        ("Почему? なぜ？", RUSSIAN + JAPANESE),
        ("カタカナ", CHINESE),
    ],
)
def test_a_language_that_the_request_uses_or_names_is_no_leak(prompt: str, content: str) -> None:
    assert found(content, prompt) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        ENGLISH + "Sushi (寿司・にぎり寿司), ramen (ラーメン) and tempura (天ぷら、てんぷら).",
        ENGLISH + "In China the founder is known as 任正非, and in Russia as Жэнь Чжэнфэй.",
        ENGLISH + "The word “商業的成功を収めた” is on its cover.",
        ENGLISH + 'It says "Слава труду, вперёд к победе" above the door.',
        ENGLISH + "```python\n# 计算两个列表的交集并返回排序后的结果\nx = 1\n```",
        ENGLISH + "Call it `得到一个包含所有元素的列表` if you like.",
        "Let α, β ∈ ℝ and λ > 0. Then ∑ αᵢβᵢ ≤ ‖α‖‖β‖, and ℵ₀ < 2^ℵ₀; Ω(n log n), μ = 3, π ≈ 3.14.",
        "🎉🎉🎉 ¯\\_(ツ)_/¯ 👍🏽 done! ★☆→✓ ①②③ ㎏ ㈱ 𝒜𝔹",
        "Größe, naïve, Đà Nẵng, Łódź, İstanbul, Þórr, ﬁne, ｆｕｌｌ　ｗｉｄｔｈ",
        "",
        "1234567890 " * 30,
    ],
)
def test_names_asides_code_and_signs_are_no_leak(content: str) -> None:
    assert found(content, "How does it work?") == (None, None)


@pytest.mark.parametrize(
    ("content", "count", "told"),
    [
        (ENGLISH + "It is fast和simple.", "1 of", "Han: 和simple."),
        (ENGLISH + "It is fast и simple.", "1 of", "Cyrillic: и simple."),
        (
            ENGLISH + "The 复杂度 is logarithmic.",
            "3 of",
            "Han: 复杂度 is logarithmic.",
        ),
        (ENGLISH + "그의 list", "2 of", "Hangul: 그의 list"),
        (
            ENGLISH + "It has のイメージ of speed.",
            "4 of",
            "Kana: のイメージ of speed.",
        ),
        (CHINESE + "更 просто", "6 of", "Cyrillic: просто"),
        (
            ENGLISH + "Ask Ren Zhengfei, 任正非.",
            "3 of",
            "Han: 任正非.",
        ),  # a name: known
    ],
)
def test_a_word_that_stands_bare_is_a_stray_and_no_leak(
    content: str, count: str, told: str
) -> None:
    prompt = "二分查找？" if content.startswith(CHINESE) else "How does binary search work?"
    leaked, strayed = found(content, prompt)
    assert leaked is None
    assert str(strayed).startswith(count)
    assert str(strayed).endswith(f" letters are {told}")


@pytest.mark.parametrize("face", ["ヽ ༼ຈل͜ຈ༽ノ", "づ｡◕‿‿◕｡づ", "ツ"])
def test_a_face_made_of_signs_is_no_stray(face: str) -> None:
    leaked, strayed = found(f"Done! {face}", "How does it work?")
    assert leaked is None
    assert "Kana" not in str(strayed)


def test_what_much_of_the_answer_is_no_quotation_mark_and_no_name_excuses() -> None:
    mottos = '1. "新年新气象，家有喜事！"\n2. "辞旧迎新，家居焕然一新！"\n'
    assert found(mottos, "Write two mottos.")[0] is not None
    assert found(CHINESE + " In Chinese, that is.", "How?")[0] is not None
    assert found(ENGLISH * 3 + "In Chinese: " + CHINESE, "How?") == (None, None)
    assert 0 < MUCH < 1


def test_of_a_request_with_a_picture_nothing_is_said() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    words = {"type": "text", "text": "What is written there?"}
    reply = Reply(outcome=ANSWERED, content=CHINESE, finish_reason="stop")
    for parts, told in (([words, picture], False), ([words], True), (["What?"], True)):
        asked = Asked(messages=[{"role": "user", "content": parts}], tools=None)
        assert (leak(reply, asked) is not None) == told


def test_whatever_stands_in_the_request_is_its_script() -> None:
    assert found(CHINESE, "How?")[0] is not None
    assert found(CHINESE, "How?", name="小明") == (None, None)
    called = [{"function": {"arguments": "{'q': '二'}"}}]
    assert found(CHINESE, "How?", tool_calls=called) == (None, None)
    reply = Reply(outcome=ANSWERED, content=CHINESE, finish_reason="stop")
    for schema in ({"properties": {"城市": {}}}, {"description": "城市"}):
        tool = {"function": {"name": "look", "parameters": schema}}
        assert leak(reply, Asked(messages=(), tools=[tool])) is None


def test_the_reasoning_may_be_in_any_language() -> None:
    reply = Reply(outcome=ANSWERED, content=ENGLISH, reasoning=CHINESE, finish_reason="stop")
    assert leak(reply, Asked(messages=(), tools=None)) is None


@given(st.integers(0, 60), st.integers(1, 6000))
def test_it_takes_a_few_letters_and_a_share_or_a_sentence(count: int, others: int) -> None:
    leaked, strayed = found("字" * count + "a" * others, "How?")
    share = count >= 0.02 * (count + others)
    assert (leaked is not None) == (count >= FEWEST and (share or count >= IN_A_ROW))
    assert (strayed is not None) == (count > 0 and leaked is None)


def test_a_stretch_goes_on_over_signs_and_ends_at_other_letters() -> None:
    for between, told in (("，1 ", True), ("a", False)):
        content = "字" * (IN_A_ROW - 5) + between + "字" * 5 + "a" * 6000
        leaked, _ = found(content, "How?")
        assert (leaked is not None) == told


def test_every_script_has_words_that_ask_for_it() -> None:
    assert set(SCRIPTS.values()) == set(NAMED)
    assert set(letters("漢ひカ한яعאअঅதతไაԱ")[1]) == set(NAMED)
