"""RFC 7541: header compression, representation by representation."""

from typing import Any

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from .steps import answered, case, refused, request
from .wire import COMPRESSION_ERROR, HEADER_TABLE_SIZE

USER_AGENT = 58  # its index in the static table
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
NAME_IN_HUFFMAN = b"\x85" + HUFFMAN.encode(b"x-test")  # of 5 octets


def integer(value: Any, prefix_bits: Any, pattern: Any) -> Any:
    """RFC 7541 §5.1."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([pattern | value])
    octets, value = [pattern | limit], value - limit
    while value >= 128:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def string(value: Any, huffman: Any) -> Any:
    """RFC 7541 §5.2."""
    coded = HUFFMAN.encode(value) if huffman else value
    return integer(len(coded), 7, 0x80 if huffman else 0) + coded


def with_field(octets: bytes) -> Any:
    """A request with a raw representation at the end of its header block."""
    return request(1, options={"last": octets})


def with_start(octets: bytes) -> Any:
    """A request with raw octets at the start of its header block."""
    return request(1, options={"first": octets})


def accepted(section: Any, title: str, *steps: Any) -> Any:
    return case(f"RFC 7541 §{section}", f"{title} is accepted", *steps, answered(1, 200))


def error(section: Any, title: str, step: Any) -> Any:
    """A decoding error is a connection error (RFC 9113 §4.3)."""
    return refused(f"RFC 7541 §{section}", title, COMPRESSION_ERROR, step)


def above_the_table(connection: Any) -> Any:
    limit = connection.settings.get(HEADER_TABLE_SIZE, 4096)
    return with_start(integer(limit + 1, 5, 0x20))(connection)


REPRESENTATIONS = [("6.2.1", "a literal with incremental indexing", 6, 0x40), ("6.2.2", "a literal without indexing", 4, 0x00), ("6.2.3", "a literal never indexed", 4, 0x10)]  # fmt: skip

ACCEPTED = [
    accepted("6.1", "an indexed field", with_field(integer(USER_AGENT, 7, 0x80))),
    *(
        accepted(section, f"{title}, {'Huffman coded' if huffman else 'plain'}, {'indexed' if indexed else 'new'} name",
                 with_field((integer(USER_AGENT, bits, pattern) if indexed else bytes([pattern]) + string(b"x-test", huffman)) + string(b"sockeye", huffman)))
        for section, title, bits, pattern in REPRESENTATIONS
        for indexed in (True, False)
        for huffman in (True, False)
    ),
    accepted("6.3", "a dynamic table size update", with_start(b"\x20")),
    accepted("6.3", "a dynamic table size update to 128", with_start(integer(128, 5, 0x20))),
    accepted("4.2", "a size update to 0 and one to 4096", with_start(b"\x20\x3f\xe1\x1f")),
    accepted("4.2", "a size update to 128 and one to 4096", with_start(integer(128, 5, 0x20) + integer(4096, 5, 0x20))),
    case("RFC 7541 §2.3.3", "an indexed field of the dynamic table is accepted", with_start(b"\x20\x3f\xe1\x1f"), answered(1, 200), lambda c: request(3, ("x-test", "sockeye"))(c), answered(3, 200), lambda c: request(5, ("x-test", "sockeye"))(c), answered(5, 200)),
]  # fmt: skip

ERRORS = [
    error("2.3.3", "an index beyond both tables", with_field(b"\xfe")),
    error("2.3.3", "an index a little beyond both tables", with_field(integer(70, 7, 0x80))),
    error("4.2", "a size update at the end of a header block", with_field(b"\x21")),
    error("4.2", "a size update between two fields", with_field(b"\x20" + integer(USER_AGENT, 7, 0x80))),
    error("5.1", "an integer that overflows", with_field(b"\xff" + b"\xff" * 10 + b"\x7f")),
    error("5.1", "an integer that does not end", with_field(b"\xff\x80")),
    error("5.2", "a string longer than its header block", with_field(b"\x00\x06x-test\x7fok")),
    error("5.2", "Huffman padding longer than 7 bits", with_field(b"\x00" + NAME_IN_HUFFMAN + b"\x84" + HUFFMAN.encode(b"test") + b"\xff")),
    error("5.2", "Huffman padding that is not of EOS's bits", with_field(b"\x00" + NAME_IN_HUFFMAN + b"\x83\x49\x50\x90")),
    error("5.2", "the EOS symbol inside a Huffman coded string", with_field(b"\x00" + NAME_IN_HUFFMAN + b"\x87\xff\xff\xff\xfd\x25\x42\x7f")),
    error("5.2", "the EOS symbol between two others", with_field(b"\x00" + NAME_IN_HUFFMAN + b"\x87\x49\x51\xff\xff\xff\xfa\x7f")),
    error("6.1", "index 0 as an indexed field", with_field(b"\x80")),
    error("6.2.1", "an index beyond both tables as a literal's name", with_field(integer(126, 6, 0x40) + string(b"ok", False))),
    error("6.2.1", "an index a little beyond both tables as a literal's name", with_field(integer(70, 6, 0x40) + string(b"", False))),
    error("6.3", "a size update above SETTINGS_HEADER_TABLE_SIZE", above_the_table),
]  # fmt: skip

CASES = ACCEPTED + ERRORS
