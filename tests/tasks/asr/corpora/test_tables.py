import pytest

from tasks.asr.corpora import tables

ROWS = [{"file": "a.wav", "text": "yes, I do; x"}, {"file": "b", "text": ""}]


@pytest.mark.parametrize(
    "text",
    [
        'file,text\na.wav,"yes, I do; x"\nb,\n',
        'File;Text\r\na.wav;"yes, I do; x"\r\n;;\r\nb;\r\n',
        'file\ttext\na.wav\t"yes, I do; x"\n\nb\t\n',
        'sep=;\nfile; text\na.wav; "yes, I do; x"\nb;\n',
        'file|text\ra.wav|"yes, I do; x"\rb|\r',
    ],
)
def test_spreadsheets_part_columns_in_their_own_ways(text):
    assert [row for _, row in tables.rows(text)] == ROWS
    assert tables.columns(text) == ["file", "text"]


def test_rows_have_the_number_of_their_line():
    numbers = [number for number, _ in tables.rows("a,b\n\n1,2\n3,4\n")]
    assert numbers == [3, 4]
    numbers = [number for number, _ in tables.rows("sep=,\na,b\n1,2\n")]
    assert numbers == [3]


def test_values_beyond_the_columns_are_a_fault():
    ((_, row),) = tables.rows("file,text\na.wav,hello, world\n")
    assert row[tables.FAULT] == tables.TOO_MANY


def test_a_quotation_mark_without_a_partner_swallows_no_row_unsaid():
    text = 'file\ttext\na\t"Stop he said\nb\tgo "on"\nc\tlast\n'
    (_, swallowed), (_, last) = tables.rows(text)
    assert swallowed[tables.FAULT] == tables.UNCLOSED
    assert last == {"file": "c", "text": "last"}
    ((_, two_lines),) = tables.rows('file,text\na,"one\ntwo"\n')
    assert two_lines == {"file": "a", "text": "one\ntwo"}


def test_names_of_columns_are_read_as_people_write_them():
    assert tables.columns("File Name;Speaker-ID\n") == [
        "file_name",
        "speaker_id",
    ]


def test_text_is_read_with_the_marks_of_windows():
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert tables.decode("schön".encode(encoding)) == "schön"
    with pytest.raises(UnicodeDecodeError):
        tables.decode("schön".encode("latin-1"))
