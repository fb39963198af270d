"""Reading text files: UTF-8 with errors that name the byte, raw bytes for the byte level."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import TextIO

from rnncore._messages import message

PathLike = str | os.PathLike[str]


def read_bytes(path: PathLike) -> bytes:
    """Read a whole file; one whose name ends in ``.gz`` is unpacked.

    Raises:
        FileNotFoundError, IsADirectoryError, OSError: with the path and what to do.
        ValueError: the file is empty.
    """
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(message("read text", str(file), "a text file", "a folder"))
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise OSError(message("read text", str(file), "a whole gzip file", str(error))) from None
    except FileNotFoundError:
        raise FileNotFoundError(message("read text", str(file), "a text file", "no such file")) from None
    except OSError as error:
        raise OSError(message("read text", str(file), "a readable file", error.strerror or str(error))) from None
    if not data:
        raise ValueError(message("read text", str(file), "some text", "an empty file"))
    return data


def decode_utf8(data: bytes, origin: str) -> str:
    """Decode UTF-8; a leading byte-order mark is dropped, line ends stay as they are.

    Raises:
        ValueError: naming the offset of the first invalid byte.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            message(
                "read text",
                origin,
                "UTF-8",
                f"an invalid byte 0x{data[error.start]:02x} at byte offset {error.start}",
                "convert the file to UTF-8, or use --level byte",
            )
        ) from None
    return text.removeprefix("\ufeff")


def read_text(path: PathLike) -> str:
    """Read a UTF-8 text file (see `read_bytes` and `decode_utf8` for the errors)."""
    return decode_utf8(read_bytes(path), str(path))


def open_text(path: PathLike) -> TextIO:
    """A UTF-8 text file, read whole, as a stream of lines; errors as `read_text`."""
    return io.StringIO(read_text(path), newline="\n")
