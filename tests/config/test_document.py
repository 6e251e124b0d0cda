"""docs/configuration.md says what config/settings.py says."""

import re

from config import document, settings


def test_the_page_is_current():
    assert document.PAGE.read_text() == document.page(), "run: python -m config.document"


def test_every_setting_has_its_line_and_its_meaning():
    fields = [
        name
        for cls in vars(settings).values()
        if isinstance(cls, type) and issubclass(cls, settings.Strict)
        for name in cls.__struct_fields__
    ]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", document.page(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(fields)
    assert [name for name, meaning in rows if not meaning] == []
