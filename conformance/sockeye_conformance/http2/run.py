#!/usr/bin/env python3
"""Black-box conformance of `sockeye serve`: HTTP/2, header compression, and WebSockets on HTTP/2 streams.

One line per case, then how many passed; the exit status is 1 when one did not.
"""

from ..harness import Report, arguments, server
from . import rfc6455, rfc7541, rfc8441, section_6, section_8, sections_3_to_5

CHAPTERS = [sections_3_to_5, section_6, section_8, rfc7541, rfc8441, rfc6455]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run every case N times over")
    parser.add_argument("--split", type=int, metavar="N", help="write N octets at a time")
    options = parser.parse_args()
    cases = [case for chapter in CHAPTERS for case in chapter.CASES if options.filter in str(case)]
    report = Report()
    with server(options) as under_test:
        for _ in range(options.repeat):
            for case in cases:
                report.run(str(case), lambda: case.run(under_test.address, under_test.tls, options.split))
    report.finish()


if __name__ == "__main__":
    main()
