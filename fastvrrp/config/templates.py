"""Lines of a multi-line parameter that are split into words once, and filled in many times.

Three nested sequences of the manual page make 65,024 instances of one parameter. Most of its lines
hold words that never change and words with a number in them; they need not be searched, joined and
split again every time. A line qualifies where every parameter in it has a plain value, one that
stays inside its word; any other line goes the long way (`expansion`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter

from fastvrrp.config.complaints import Place
from fastvrrp.config.parameters import REFERENCE, Parameter, Written
from fastvrrp.config.statement import MadeStatement, Use
from fastvrrp.config.tokens import split_line, token_offset, token_text

Values = Mapping[str, str]
Filled = tuple[str, Callable[[Values], object]]
"""A format, and what takes its values out of all values."""


class Template:
    """One line of a parameter, split."""

    __slots__ = ("_origin", "_splits", "values", "written")

    def __init__(self, written: Written, values: Values) -> None:
        self.written = written
        self.values = values
        splits, _ = split_line(written.text)
        self._splits: list[tuple[list[str | Filled], bool, int]] = [
            ([_filled(word, values) for word in split.words], split.opens, split.first)
            for split in splits
        ]
        self._origin: _TemplateOrigin | None = None

    def statements(self, use: Use) -> Iterator[MadeStatement]:
        """Its statements with the values of now."""
        values = self.values
        origin = self._origin
        if origin is None or origin.use is not use:
            origin = self._origin = _TemplateOrigin(self, use)
        for words, opens, first in self._splits:
            yield MadeStatement(
                [word if isinstance(word, str) else word[0] % word[1](values) for word in words],
                opens,
                use,
                first,
                origin,
            )


class _TemplateOrigin:
    """Where the tokens of a template's statements come from."""

    __slots__ = ("_template", "use")

    def __init__(self, template: Template, use: Use) -> None:
        self._template = template
        self.use = use

    def column(self, token: int) -> int:
        """Every token stands where the parameter is used."""
        return self.use.column

    def definition(self, token: int) -> Place:
        """Where the token was written."""
        written = self._template.written
        offset = token_offset(written.text, token)
        return Place(written.path, written.number, written.column + offset)

    def raw(self, token: int) -> str:
        """The token with its quotes and the values of now."""
        word = _filled(token_text(self._template.written.text, token), self._template.values)
        return word if isinstance(word, str) else str(word[0] % word[1](self._template.values))


def qualifies(written: Written, parameters: Mapping[str, Parameter]) -> bool:
    """Whether a line can be a template as long as no parameter comes, goes or changes its kind."""
    text = written.text
    if text.lstrip()[:1] in ("@", "~", "$"):
        return False
    if "$" not in text:
        return split_line(text)[1] is None
    if '"' in text or "'" in text or "\\" in text:
        return False
    in_line = REFERENCE.findall(text)
    for braced, _, bare in in_line:
        name = braced or bare
        parameter = parameters.get(name)
        if name.startswith("_") or (parameter is not None and not parameter.is_plain):
            return False
    words = [word for split in split_line(text)[0] for word in split.words]
    return len(in_line) == sum(len(REFERENCE.findall(word)) for word in words)


def _filled(word: str, values: Values) -> str | Filled:
    """A word with its references made a format; a word without any is itself."""
    names: list[str] = []
    form = ""
    end = 0
    for match in REFERENCE.finditer(word):
        name = match.group(1) or match.group(3)
        if name in values:
            form += word[end : match.start()].replace("%", "%%") + "%s"
            names.append(name)
            end = match.end()
    if not names:
        return word
    return form + word[end:].replace("%", "%%"), itemgetter(*names)
