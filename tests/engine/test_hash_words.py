"""Hashes as words of records."""

from engine.hash_words import hash_words, words_hash


def test_hash_words_and_back():
    sha = "00ff" * 16
    assert words_hash(hash_words(sha)) == sha
    assert hash_words("") == (0, 0, 0, 0)
