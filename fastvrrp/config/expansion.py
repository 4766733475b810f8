"""Lines that are made from others: `@ID`, `$PARAMETER`, `~SEQ`.

A line goes through these steps, each of which may start again with what it made:

1. `@ID` or `@^ID` at its start keeps or drops it.
2. `$NAME=` at its start defines a parameter. A definition goes on while its lines end in a
   backslash. It is kept as text: what it refers to is looked up when it is used.
3. `~SEQ(...)`, `~SEQx(...)` or `~LST(...)` at its start repeats the rest for every value.
4. References to parameters are replaced, again and again until there are none. A parameter of
   several lines must be the last thing on its line.

Text is carried as segments, so that every word of what comes out knows where it was used and where
it was written. A parameter made of itself, and text that grows without end, are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.parameters import (
    DEFINITION,
    REFERENCE,
    REFERENCE_INSIDE,
    Parameter,
    Predefined,
    Written,
    without_marks,
)
from fastvrrp.config.segments import Line, Segment, SegmentsOrigin
from fastvrrp.config.sequences import HEAD, STARTS, Sequence, SequenceError, sequence_of
from fastvrrp.config.source import Source
from fastvrrp.config.statement import MadeStatement, Statement, Use
from fastvrrp.config.templates import Template, qualifies
from fastvrrp.config.tokens import split_line, without_comment

DEEPEST = 50
"""Lines inside lines: parameters of several lines and sequences, one in another."""
MOST_REPLACEMENTS = 1000
LONGEST_LINE = 100_000
MOST_TURNS = 131_072
"""Of one sequence with those inside it; the manual page has an example with 65,024."""
MOST_TEXT = 40_000_000
"""Characters that one configuration may make of parameters and sequences; 65,024 instances are
24 million."""
LEAST_COUNTED = 40
"""Characters that a line counts at least."""
LONG_LINE = 200
MOST_LONG_TEXT = 1_000_000
"""Characters of all lines made that are longer than LONG_LINE: a few words may make many short
lines, or a long one, but not many long ones."""
COST_OF_REPLACEMENT = 20
"""In characters of a line."""
MOST_LINES = 50_000
LINES_EARNED = 10
"""Lines that parameters of several lines make outside sequences: so many, and so many more for
every line that has a parameter."""

PhysicalLines = Iterator[tuple[int, str]]


class Expander:
    """Makes statements from lines with `@`, `$` or `~`; holds the parameters of one reading."""

    def __init__(self, complaints: Complaints, config_id: str, seed: int) -> None:
        self._complaints = complaints
        self._config_id = config_id
        self._predefined = Predefined(config_id, seed)
        self._parameters: dict[str, Parameter] = {}
        self._values: dict[str, str] = {}
        """Values of plain parameters."""
        self._compiled: dict[Parameter, list[Template | Written | None]] = {}
        """Parameters of several lines with what qualifies of them split already; emptied when a
        parameter comes, goes or changes its kind."""
        self._endless: set[Parameter] = set()
        """Parameters that grew without end when they were used; any definition may change that."""
        self._text_left = MOST_TEXT
        self._long_text_left = MOST_LONG_TEXT
        self._lines_left = MOST_LINES
        self._too_deep: set[Parameter] = set()
        """Parameters of several lines that are made of themselves."""
        self._turns = 1
        """How often the sequences around a line repeat it."""
        self._is_refused = False
        """True when something was refused, which ends what it is inside of, too."""

    def seed(self, seed: int) -> None:
        """Start the random numbers again."""
        self._predefined.seed(seed)

    def statements(
        self, source: Source, number: int, text: str, following: PhysicalLines
    ) -> Iterator[Statement]:
        """Statements of one line of a file; a definition takes lines from `following` too."""
        use = Use(source, number, 1)
        self._lines_left += LINES_EARNED
        self._is_refused = False
        if self._is_dropped(text):
            rest = text.lstrip().partition(" ")[2]
            if DEFINITION.match(rest):
                self._definition_lines(source, number, rest, 0, following)
            return
        line = Line([Segment(text, 1, None)], use, 0)
        skipped = _length_of_condition(text)
        if skipped:
            line = Line([line.segments[0].cut(skipped)], use, 0)
        match = DEFINITION.match(text, skipped)
        if match is not None:
            written = self._definition_lines(
                source, number, text[match.end() :], match.end(), following
            )
            self._define(match.group(1), written)
            return
        if "#" in text or "!" in text:
            segment = line.segments[0]
            line = Line([segment.cut(0, len(without_comment(segment.text)))], use, 0)
        yield from self._line(line)

    # Definitions ---------------------------------------------------------------------------------

    def _definition_lines(
        self, source: Source, number: int, text: str, offset: int, following: PhysicalLines
    ) -> list[Written]:
        """Lines of a definition whose first one has `text` after its equals sign."""
        lines: list[Written] = []
        while True:
            bare = without_comment(text)
            goes_on = text.rstrip().endswith("\\") or bare.rstrip().endswith("\\")
            value = bare.rstrip()
            if value.endswith("\\"):
                value = value[:-1].rstrip()
            start = len(value) - len(value.lstrip())
            lines.append(Written(value.lstrip(), source.path, number, offset + start + 1))
            if not goes_on:
                break
            following_line = next(following, None)
            if following_line is None:
                break
            number, text = following_line
            offset = 0
        if len(lines) > 1:
            lines = [line for line in lines if line.text] or lines[:1]
        return lines

    def _define(self, name: str, lines: list[Written]) -> None:
        """Set a parameter; templates stay valid as long as a plain value replaces a plain value."""
        self._endless.clear()
        parameter = Parameter(name, lines)
        before = self._parameters.get(name)
        if before is None or before.is_plain != parameter.is_plain or not parameter.is_plain:
            self._compiled.clear()
        self._parameters[name] = parameter
        if parameter.is_plain:
            self._values[name] = lines[0].text
        else:
            self._values.pop(name, None)

    # Conditions ----------------------------------------------------------------------------------

    def _is_dropped(self, text: str) -> bool:
        """Whether `@ID` at the start of a line is not about this configuration."""
        stripped = text.lstrip()
        if not stripped.startswith("@"):
            return False
        words = stripped.split(maxsplit=1)
        condition = words[0][1:]
        if condition.startswith("^"):
            return condition[1:] == self._config_id
        return condition != self._config_id

    # Lines ---------------------------------------------------------------------------------------

    def _line(self, line: Line) -> Iterator[Statement]:
        """Statements of a line without its condition."""
        if line.depth > DEEPEST:
            self._refuse_depth(line)
            return
        text = line.text
        stripped = text.lstrip()
        if stripped.startswith(STARTS):
            yield from self._sequence(line, len(text) - len(stripped))
            return
        if "$" in text:
            replaced = self._replaced(line)
            if replaced is None:
                return
            line, several = replaced
            text = line.text
            if several is not None:
                yield from self._several(line, several)
                return
            if text.lstrip()[:1] in ("@", "~", "$") and line.segments:
                made = self._made_line(Line(line.segments, line.use, line.depth + 1))
                if made is not None:
                    yield from made
                    return
        yield from self._split(line, text)

    def _made_line(self, line: Line) -> Iterator[Statement] | None:
        """What a line makes that got its @, $NAME= or ~SEQ from a parameter; None if nothing."""
        text = line.text
        if text.lstrip().startswith("@"):
            if self._is_dropped(text):
                return iter(())
            return self._line(line.cut(_length_of_condition(text)))
        match = DEFINITION.match(text)
        if match is not None:
            value = line.cut(match.end()).segments
            plain = "".join([segment.text for segment in value]).strip()
            place = value[0].written if value else None
            use = line.use
            self._define(
                match.group(1),
                [
                    Written(plain, place.path, place.number, place.column)
                    if place is not None
                    else Written(plain, use.source.path, use.number, use.column)
                ],
            )
            return iter(())
        if text.lstrip().startswith(STARTS):
            return self._line(line)
        return None

    def _several(self, line: Line, parameter: Parameter) -> Iterator[Statement]:
        """Lines of a parameter that stood at the end of a line."""
        if parameter in self._too_deep:
            self._complain(line, f"${parameter.name} grows without end; it is made of itself")
            return
        prefix = line.segments
        use = line.use
        first = 0
        if "".join([segment.text for segment in prefix]).strip():
            first = 1
            written = parameter.lines[0]
            yield from self._inner(
                Line([*prefix, Segment(written.text, use.column, written)], use, line.depth + 1)
            )
        for index in range(first, len(parameter.lines)):
            if self._is_refused:
                self._too_deep.add(parameter)
                return
            if not self._may_go_on(line, len(parameter.lines[index].text)):
                return
            compiled = self._compiled.get(parameter)
            if compiled is None:
                compiled = self._compiled[parameter] = [None] * len(parameter.lines)
            piece = compiled[index]
            if piece is None:
                piece = compiled[index] = self._compile(parameter.lines[index])
            if isinstance(piece, Template):
                yield from piece.statements(use)
            else:
                yield from self._inner(
                    Line([Segment(piece.text, use.column, piece)], use, line.depth + 1)
                )

    def _compile(self, written: Written) -> Template | Written:
        """A line of a parameter, as a template where it qualifies."""
        return Template(written, self._values) if qualifies(written, self._parameters) else written

    def _inner(self, line: Line) -> Iterator[Statement]:
        """Statements of a line of a parameter, with everything that a line may begin with."""
        text = line.text
        if text.lstrip()[:1] in ("@", "$"):
            if line.depth > DEEPEST:
                self._refuse_depth(line)
                return
            made = self._made_line(line)
            if made is not None:
                yield from made
                return
        yield from self._line(line)

    def _sequence(self, line: Line, start: int) -> Iterator[Statement]:
        """The rest of a line for every turn of the sequence at its start."""
        head = self._replaced_head(line, start)
        if head is None:
            return
        kind, inside, rest = head
        try:
            sequence = sequence_of(kind, inside)
        except SequenceError as error:
            self._complain(line, f"~{kind}({inside}): {error}; the line is left out")
            return
        inner = Line(rest, line.use, line.depth + 1)
        text = inner.text
        if not text.strip():
            return
        before = self._turns
        if before * sequence.length > MOST_TURNS:
            self._is_refused = True
            self._complain(
                line,
                f"~{kind}({inside}) makes this line {before * sequence.length} times; more than"
                f" {MOST_TURNS} are too many, and it is left out",
            )
            return
        self._turns = before * sequence.length
        yield from self._turns_of(sequence, inner, len(text))
        self._turns = before

    def _turns_of(self, sequence: Sequence, inner: Line, length: int) -> Iterator[Statement]:
        """A line for every turn of a sequence."""
        names = sequence.names
        use = inner.use
        for turn in sequence.turns:
            if self._is_refused or not self._may_go_on(inner, length):
                return
            for name, value in zip(names, turn, strict=True):
                self._define(name, [Written(value, use.source.path, use.number, use.column)])
            yield from self._line(inner)

    def _replaced_head(self, line: Line, start: int) -> tuple[str, str, list[Segment]] | None:
        """Kind and inside of a sequence, its parameters replaced, and the segments after it."""
        text = line.text
        end = text.find(")", start)
        if end < 0:
            self._complain(line, f"{text[start:].split('(')[0]} has no closing parenthesis")
            return None
        inside = self._text_replaced(text[start : end + 1])
        match = HEAD.fullmatch(inside)
        if match is None:
            self._complain(line, f"{inside} is no sequence; the line is left out")
            return None
        return match.group(1), match.group(2), line.cut(end + 1).segments

    def _text_replaced(self, text: str) -> str:
        """Text with its parameters of one line replaced, up to a limit."""

        def value(match: re.Match[str]) -> str:
            parameter = self._parameters.get(match.group(1) or match.group(2))
            if parameter is None or len(parameter.lines) > 1:
                return match.group()
            return parameter.lines[0].text

        for _ in range(DEEPEST):
            replaced = REFERENCE_INSIDE.sub(value, text)
            if replaced == text or len(replaced) > LONGEST_LINE:
                break
            text = replaced
        return text

    # References ----------------------------------------------------------------------------------

    def _replaced(self, line: Line) -> tuple[Line, Parameter | None] | None:
        """A line with its references replaced, and the parameter of several lines at its end.

        None after a complaint.
        """
        done: list[Segment] = []
        waiting = list(reversed(line.segments))
        outermost: Parameter | None = None
        replacements = length = 0
        is_spent = self._long_text_left < 0
        use = line.use
        while waiting:
            segment = waiting.pop()
            following = waiting[-1].text[:1] if waiting else ""
            found = self._reference(segment.text, following, use)
            if found is None:
                done.append(segment)
                length += len(segment.text)
                if is_spent and length > LONG_LINE:
                    self._complain_of_text(line)
                    return None
                continue
            start, end, value = found
            if start:
                done.append(segment.cut(0, start))
                length += start
            column = segment.column + start if segment.written is None else segment.column
            rest = segment.cut(end)
            if isinstance(value, Parameter) and len(value.lines) > 1:
                if rest.text.strip() or any(other.text.strip() for other in waiting):
                    self._complain(
                        line,
                        f"${value.name} has several lines; nothing may follow it on its line",
                    )
                    return None
                return Line(done, Use(use.source, use.number, column), line.depth), value
            if rest.text:
                waiting.append(rest)
            if isinstance(value, Parameter) and outermost is None:
                outermost = value
            replacements += 1
            if is_spent and length + replacements * COST_OF_REPLACEMENT > LONG_LINE:
                self._complain_of_text(line)
                return None
            if (
                replacements > MOST_REPLACEMENTS
                or length > LONGEST_LINE
                or outermost in self._endless
            ):
                if outermost is not None:
                    self._endless.add(outermost)
                self._count_long(length + replacements * COST_OF_REPLACEMENT)
                self._complain(line, f"${_name(value)} grows without end; it is made of itself")
                return None
            if isinstance(value, Parameter):
                written = value.lines[0]
                waiting.append(Segment(written.text, column, written))
            else:
                done.append(Segment(value, column, segment.written))
        self._count_long(length + replacements * COST_OF_REPLACEMENT)
        return Line(done, use, line.depth), None

    def _reference(
        self, text: str, following: str, use: Use
    ) -> tuple[int, int, Parameter | str] | None:
        """The first reference in a text that means something: its ends, and what it means."""
        for match in REFERENCE.finditer(text):
            braced, words, bare = match.groups()
            if bare is not None and match.end() == len(text) and following.strip():
                continue
            name = braced or bare
            parameter = self._parameters.get(name)
            if parameter is not None and not words:
                return match.start(), match.end(), parameter
            if name.startswith("_"):
                directory = use.source.absolute_directory
                value = self._predefined.value(name, (words or "").split(), directory)
                if value is not None:
                    return match.start(), match.end(), value
        return None

    # Statements ----------------------------------------------------------------------------------

    def _split(self, line: Line, text: str) -> Iterator[Statement]:
        """Statements of a line that is finished."""
        splits, open_quote = split_line(text)
        origin = SegmentsOrigin(line.segments, text)
        use = line.use
        if open_quote is not None:
            where = MadeStatement([], False, use, open_quote, origin)
            self._complaints.error(where, 0, 'the quote " is not closed in this line; close it')
        has_marks = "\ue021" in text or "\ue023" in text
        for words, opens, first in splits:
            yield MadeStatement(
                [without_marks(word) for word in words] if has_marks else words,
                opens,
                use,
                first,
                origin,
            )

    def _complain(self, line: Line, text: str) -> None:
        origin = SegmentsOrigin(line.segments, line.text)
        self._complaints.error(MadeStatement([], False, line.use, 0, origin), 0, text)

    def _may_go_on(self, line: Line, length: int) -> bool:
        """Count a line of that length that is made; False when there is too much of it."""
        if self._text_left < 0 or self._lines_left < 0:
            return False
        if self._turns == 1:
            self._lines_left -= 1
        self._text_left -= max(length, LEAST_COUNTED)
        self._count_long(length)
        is_long = length > LONG_LINE and self._long_text_left < 0
        if self._text_left >= 0 and self._lines_left >= 0 and not is_long:
            return True
        self._complain_of_text(line)
        return False

    def _refuse_depth(self, line: Line) -> None:
        self._is_refused = True
        self._complain(line, f"lines are made from lines more than {DEEPEST} deep")

    def _count_long(self, length: int) -> None:
        if length > LONG_LINE:
            self._long_text_left -= length

    def _complain_of_text(self, line: Line) -> None:
        if self._text_left < 0:
            text = f"more than {MOST_TEXT} characters"
        elif self._lines_left < 0:
            text = f"more than {MOST_LINES} lines"
        else:
            text = f"more than {MOST_LONG_TEXT} characters in lines of more than {LONG_LINE}"
        self._complain(
            line, f"parameters and sequences make {text}; the rest of this line is left out"
        )


def _length_of_condition(text: str) -> int:
    """How many characters `@ID` and the white space around it take at the start of a line."""
    stripped = text.lstrip()
    if not stripped.startswith("@"):
        return 0
    words = stripped.split(maxsplit=1)
    return len(text) - len(words[1]) if len(words) > 1 else len(text)


def _name(value: Parameter | str) -> str:
    return value.name if isinstance(value, Parameter) else value
