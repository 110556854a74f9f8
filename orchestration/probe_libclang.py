"""Exits 0 if the libclang named first, given the arguments that follow, reads C and C++ headers without an error.

bindgen asks the same of it, in the middle of a long build. Standard library only: this runs before anything is installed.
"""

import ctypes
import sys

SOURCE = b"#include <stddef.h>\n#include <stdint.h>\n#include <limits.h>\n#include <algorithm>\n#include <memory>\n"
ERROR = 3  # CXDiagnostic_Error; 4 is fatal


class UnsavedFile(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("contents", ctypes.c_char_p), ("length", ctypes.c_ulong)]


def errors(path: str, arguments: list[str]) -> int:
    clang = ctypes.CDLL(path)
    for function in ("clang_createIndex", "clang_parseTranslationUnit", "clang_getDiagnostic"):
        getattr(clang, function).restype = ctypes.c_void_p
    index = ctypes.c_void_p(clang.clang_createIndex(0, 0))
    argv = [b"-x", b"c++", b"-std=c++14", *(a.encode() for a in arguments)]
    unit = clang.clang_parseTranslationUnit(
        index,
        b"probe.cpp",
        (ctypes.c_char_p * len(argv))(*argv),
        len(argv),
        ctypes.byref(UnsavedFile(b"probe.cpp", SOURCE, len(SOURCE))),
        1,
        0,
    )
    if not unit:
        return 1
    unit = ctypes.c_void_p(unit)
    diagnostics = (ctypes.c_void_p(clang.clang_getDiagnostic(unit, i)) for i in range(clang.clang_getNumDiagnostics(unit)))
    return sum(clang.clang_getDiagnosticSeverity(d) >= ERROR for d in diagnostics)


sys.exit(min(errors(sys.argv[1], sys.argv[2:]), 1))
