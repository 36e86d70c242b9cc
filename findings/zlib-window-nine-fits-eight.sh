#!/usr/bin/env bash
# C zlib 1.2.13 or later, by Python's `zlib`: raw deflate with the windows that permessage-deflate negotiates (RFC 7692 §7.1.2).
# Did: a compressor for a window of 2^8 octets; then 600 streams of a compressor with 2^9, made to repeat themselves at
# distances up to 520, read by a decompressor that was told 2^8.
# Surprise: zlib takes `server_max_window_bits=8` for reading and refuses it for writing; yet what it writes with a window of 9
# never refers back beyond 250 octets (512 less 262 of lookahead), so that every reader of a window of 8 can read it.
# Printed: a compressor of 8: refused; streams of 9 that a reader of 8 takes: 600 of 600; of 10: fewer
# Seen: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
cat >run.py <<'PY'
import random
import zlib

try:
    zlib.compressobj(wbits=-8)
    refused = "made"
except ValueError:
    refused = "refused"

assert tuple(map(int, zlib.ZLIB_RUNTIME_VERSION.split(".")[:2])) >= (1, 2), zlib.ZLIB_RUNTIME_VERSION


def read(reader, octets):
    """What the octets say, put out one by one: each reference back is to the window, and to nothing beside it."""
    message = b""
    while octets:
        message += reader.decompress(octets, 1)
        octets = reader.unconsumed_tail
    return message


def taken(bits, count):
    """How many streams of a compressor with this window a reader with a window of 8 reads as they were written."""
    chance, good = random.Random(8), 0
    for number in range(count):
        compressor, reader = zlib.compressobj(1 + number % 9, wbits=-bits), zlib.decompressobj(wbits=-8)
        try:
            for _ in range(1 + number % 4):
                message = chance.randbytes(chance.randrange(200, 520)) * chance.randrange(2, 5)
                flushed = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
                if read(reader, flushed) != message:
                    break
            else:
                good += 1
        except zlib.error:
            pass
    return good


ten = taken(10, 100)
print(f"a compressor of 8: {refused}; streams of 9 that a reader of 8 takes: {taken(9, 600)} of 600; of 10: {'fewer' if ten < 100 else 'all'}")
PY
printed=$(python3 run.py)
echo "$printed"
[[ $printed == 'a compressor of 8: refused; streams of 9 that a reader of 8 takes: 600 of 600; of 10: fewer' ]]
