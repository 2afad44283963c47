"""Which renamings leave a program what it is: those of names that nothing else can see."""

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.novelty.outline import outline_of

SAME = {
    "a local variable": ("def f(x):\n    y = x\n    return y\n", "def f(x):\n    z = x\n    return z\n"),
    "in a nested function": (
        "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n    g()\n    return n\n",
        "def f():\n    m = 0\n    def h():\n        nonlocal m\n        m += 1\n    h()\n    return m\n",
    ),
    "in a comprehension": ("def f():\n    return [x for x in 'a']\n", "def f():\n    return [y for y in 'a']\n"),
    "a helper and its parameter": (
        "def f():\n    return g(1)\ndef g(x):\n    return -x\n",
        "def f():\n    return h(1)\ndef h(y):\n    return -y\n",
    ),
    "a caught exception": (
        "def f():\n    try:\n        g()\n    except OSError as e:\n        raise e\n",
        "def f():\n    try:\n        g()\n    except OSError as err:\n        raise err\n",
    ),
    "a captured pattern": (
        "def f(v):\n    match v:\n        case [a, *b]:\n            return a, b\n",
        "def f(v):\n    match v:\n        case [c, *d]:\n            return c, d\n",
    ),
    "a variable of a method": (
        "class f:\n    def m(self):\n        a = 1\n        return a\n",
        "class f:\n    def m(self):\n        b = 1\n        return b\n",
    ),
}
OTHER = {
    "what is called from outside": ("def f():\n    pass\n", "def g():\n    pass\n"),
    "an optional function that a harness may call": (
        "def f():\n    pass\ndef configure():\n    pass\n",
        "def f():\n    pass\ndef setup():\n    pass\n",
    ),
    "a parameter of what is called from outside": ("def f(seed):\n    return seed\n", "def f(s):\n    return s\n"),
    "a parameter that is given by name": (
        "def f():\n    return g(x=1)\ndef g(x):\n    return x\n",
        "def f():\n    return g(x=1)\ndef g(y):\n    return y\n",
    ),
    "an attribute": ("def f(a):\n    return a.x\n", "def f(a):\n    return a.y\n"),
    "a method": ("class f:\n    def m(self):\n        pass\n", "class f:\n    def n(self):\n        pass\n"),
    "a library": ("import a\ndef f():\n    return a.b\n", "import c\ndef f():\n    return c.b\n"),
    "a name from nowhere, mended": (
        "def f():\n    total = 1\n    return totl\n",
        "def f():\n    total = 1\n    return total\n",
    ),
    "a builtin taken over": ("def f():\n    return len\n", "def f():\n    len = 1\n    return len\n"),
    "looked up by its name": (
        "def f():\n    return globals()['g']\ndef g():\n    pass\ng\n",
        "def f():\n    return globals()['g']\ndef h():\n    pass\nh\n",
    ),
    "named in a text": (
        "import sys\ndef f():\n    return getattr(sys.modules[__name__], 'g')\ndef g():\n    pass\ng\n",
        "import sys\ndef f():\n    return getattr(sys.modules[__name__], 'g')\ndef h():\n    pass\nh\n",
    ),
    "two that stand for each other": (
        "def f(x, y):\n    a = x\n    b = y\n    return a - b\n",
        "def f(x, y):\n    a = x\n    b = y\n    return b - a\n",
    ),
    "two that become one": ("def f():\n    a = b = 1\n    return a\n", "def f():\n    a = a = 1\n    return a\n"),
    "a local that hides a global": (
        "x = 1\ndef f():\n    y = 2\n    return x + y\n",
        "x = 1\ndef f():\n    x = 2\n    return x + x\n",
    ),
    "a function that is given instead of another": (
        "def f():\n    return g(h)\ndef g(x):\n    return x\ndef h(x):\n    return x\n",
        "def f():\n    return h(h)\ndef g(x):\n    return x\ndef h(x):\n    return x\n",
    ),
    "unpacking at another place": ("def f(a):\n    return {**a, 1: 2}\n", "def f(a):\n    return {1: 2, **a}\n"),
    "grouping": ("def f(a):\n    return g(a, (1, 2))\n", "def f(a):\n    return g(a, 1, 2)\n"),
    "where a block ends": (
        "def f(a):\n    if a:\n        g()\n        h()\n",
        "def f(a):\n    if a:\n        g()\n    h()\n",
    ),
    "true and one": ("def f():\n    return True\n", "def f():\n    return 1\n"),
    "a number and its text": ("def f():\n    return 1\n", "def f():\n    return '1'\n"),
    "the tail of a long text": (
        f"def f():\n    return '{'a' * 500}b'\n",
        f"def f():\n    return '{'a' * 500}c'\n",
    ),
    "an annotation": ("def f(x: int):\n    return x\n", "def f(x: str):\n    return x\n"),
}


def canonical(text):
    return outline_of({"a.py": text}, ("f",)).canonical


@pytest.mark.parametrize("label", SAME)
def test_a_name_that_only_the_program_sees_may_be_any(label):
    one, other = SAME[label]
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize("label", OTHER)
def test_what_could_make_a_difference_makes_another_program(label):
    one, other = OTHER[label]
    assert canonical(one) != canonical(other)


def test_programs_of_several_files_are_renamed_by_nobody():
    one = {"a.py": "from b import g\ndef f():\n    return g()\n", "b.py": "def g():\n    x = 1\n    return x\n"}
    other = one | {"b.py": one["b.py"].replace("x", "y")}
    assert outline_of(one, ("f",)).canonical != outline_of(other, ("f",)).canonical
    assert outline_of(one, ("f",)).canonical == outline_of(dict(reversed(one.items())), ("f",)).canonical


def test_what_nothing_calls_is_not_live():
    text = (
        "import os\nimport sys\nA = 1\nB = 2\ndef f():\n    return g() + A + sys.x\ndef g():\n    return 1\n"
        "def unused():\n    return B\n@register\ndef hook():\n    pass\nwarm_up()\n"
    )
    live = {entry.name: entry.live for entry in outline_of({"a.py": text}, ("f",)).definitions if entry.name}
    assert live == {"f": True, "g": True, "unused": False, "hook": True}
    places = [entry.live for entry in outline_of({"a.py": text}, ("f",)).definitions]
    assert places == [False, True, True, False, True, True, False, True, True]


def test_without_an_interface_everything_is_live():
    assert all(entry.live for entry in outline_of({"a.py": "import os\ndef g():\n    pass\n"}).definitions)


def test_a_program_that_does_not_parse_is_refused_by_file_and_line():
    with pytest.raises(BadInput, match=r"a\.py does not parse.*line 2"):
        outline_of({"a.py": "x = 1\ny = = 2\n"})


@pytest.mark.parametrize(
    "text",
    ["", "x = 0x" + "f" * 5000, "-" * 500 + "1", "x = '\\ud800'", "x = 1e999", "async def f():\n    await g()\n"],
    ids=lambda text: repr(text[:10]),
)
def test_any_program_that_parses_has_an_outline(text):
    assert len(canonical(text)) == 64
