#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PURE libraries call nothing outside their allowance: proof from the symbols of what was built.

usage: symbols.py CC UNIT=LIBRARY...
Every PURE unit of layers.txt must be given. An undefined symbol of its objects must be defined in a unit it may
include, or be an allowed function of libc, Jansson or the compiler's run time. Clocks, files, environment, randomness,
threads, logging and processes are on no list. Lastly objects with forbidden calls are compiled and must be found."""

import pathlib
import re
import subprocess
import sys
import tempfile

import layers
from tap import Tap

LIBC = set("""
    malloc calloc realloc reallocarray free strdup strndup
    bcmp memchr memcmp memcpy memmem memmove mempcpy memrchr memset explicit_bzero
    stpcpy stpncpy strcasecmp strcat strchr strchrnul strcmp strcpy strcspn strlen strncasecmp strncat strncmp strncpy
    strnlen strpbrk strrchr strsep strspn strstr strtok_r
    strtol strtoll strtoul strtoull strtoimax strtoumax strtod
    snprintf vsnprintf asprintf vasprintf sscanf
    bsearch qsort qsort_r tolower toupper
    strerrordesc_np strerrorname_np
    abort
""".split())
# Jansson without files, descriptors, streams and the process-wide seed and allocator.
JANSSON = set("""
    json_object json_array json_string json_stringn json_string_nocheck json_stringn_nocheck json_integer json_real
    json_true json_false json_null json_boolean json_delete json_sprintf json_vsprintf
    json_object_size json_object_get json_object_getn json_object_set_new json_object_set_new_nocheck
    json_object_setn_new json_object_setn_new_nocheck json_object_del json_object_deln json_object_clear
    json_object_update json_object_iter json_object_iter_at json_object_iter_next json_object_iter_key
    json_object_iter_key_len json_object_iter_value json_object_key_to_iter json_object_iter_set_new
    json_array_size json_array_get json_array_set_new json_array_append_new json_array_insert_new json_array_remove
    json_array_clear json_array_extend
    json_string_value json_string_length json_string_set json_string_setn json_integer_value json_integer_set
    json_real_value json_number_value
    json_equal json_copy json_deep_copy json_pack json_vpack json_pack_ex json_unpack json_unpack_ex
    json_loads json_loadb json_dumps json_dumpb json_dump_callback
""".split())
# What the compiler and <assert.h> put in by themselves; __NAME_chk and __isoc99_NAME count as NAME.
RUNTIME = re.compile(r"""^( __stack_chk_fail(_local)? | __stack_chk_guard | __assert_fail | __errno_location
    | __ctype_(b|tolower|toupper)_loc | _GLOBAL_OFFSET_TABLE_ | __(a|ub|l)san_\w+ | __sanitizer_\w+ | __interceptor_\w+
    | __gcov_\w+ | __llvm_profile_\w+ | __aeabi_\w+ | __(u|s)?(div|mod|divmod|mul|popcount|clz|ctz)\w*[sdt]i[234] )$""", re.X)


def nm(path):
    """→ (defined, {undefined: object}) of an archive or object file."""
    out = subprocess.run(["nm", "-A", "-P", path], check=True, capture_output=True, text=True).stdout
    defined, undefined = set(), {}
    for line in out.splitlines():
        where, _, rest = line.partition(": ")
        if not rest:
            continue
        name, kind = rest.split()[:2]
        member = re.search(r"\[([^]]*)\]|([^/]+)$", where)
        if kind in "Uwv":
            undefined.setdefault(name, (member.group(1) or member.group(2)).split("/")[-1])
        else:
            defined.add(name)
    return defined, {n: o for n, o in undefined.items() if n not in defined}


def allowed(name):
    if RUNTIME.match(name) or name in JANSSON:
        return True
    plain = re.sub(r"^__isoc\d\d_", "", re.sub(r"^__(\w+)_chk$", r"\1", name))
    return plain in LIBC


def reachable(unit, units):
    """PURE units that `unit` may call: those it may include, and what these may include."""
    by_name = {u.name: u for u in units}
    todo, seen = [unit.name], set()
    while todo:
        u = by_name[todo.pop()]
        if u.name not in seen and (u.pure or u is unit):
            seen.add(u.name)
            todo += u.allowed
    return seen


def problems_of(undefined, known):
    return [f"{obj} calls {name}" for name, obj in sorted(undefined.items()) if name not in known and not allowed(name)]


def planted(cc, code):
    """Is the call in `code` found?"""
    with tempfile.TemporaryDirectory() as tmp:
        source, obj = pathlib.Path(tmp, "planted.c"), pathlib.Path(tmp, "planted.o")
        source.write_text(code)
        subprocess.run([*cc.split(), "-D_GNU_SOURCE", "-O1", "-c", "-o", obj, source], check=True)
        return problems_of(nm(obj)[1], set())


def main():
    cc, libs = sys.argv[1], dict(a.split("=", 1) for a in sys.argv[2:])
    units = layers.read_units(pathlib.Path(__file__).with_name("layers.txt"))
    pure = [u for u in units if u.pure]
    tables = {name: nm(path) for name, path in libs.items()}
    tap = Tap()
    for u in pure:
        if u.name not in tables:
            tap.check(f"{u} is pure", [f"no library {u}_lib was built"])
            continue
        known = set().union(*(tables[n][0] for n in reachable(u, units) if n in tables))
        found = problems_of(tables[u.name][1], known)
        if not tables[u.name][0]:
            found.append(f"{libs[u.name]} defines nothing")
        tap.check(f"{u} is pure", found)
    for code in ("#include <time.h>\nlong f(void) { return time(0); }",
                 "#include <stdlib.h>\nchar *f(void) { return getenv(\"HOME\"); }",
                 "#include <fcntl.h>\nint f(void) { return open(\"/\", O_RDONLY); }",
                 "#include <stdio.h>\nvoid f(void) { puts(\"log\"); }",
                 "#include <sys/random.h>\nlong f(char *p) { return getrandom(p, 8, 0); }",
                 "void *json_load_file(const char *, unsigned long, void *);\nvoid *f(void) { return json_load_file(\"x\", 0, 0); }",
                 "void log_full(int);\nvoid f(void) { log_full(1); }"):
        name = re.search(r"(\w+)\([^()]*\); }", code).group(1)
        tap.check(f"a planted {name}() is found", [] if planted(cc, code) else ["it was not"])
    tap.check("allowed calls are no problem",
              planted(cc, "#include <string.h>\n#include <stdlib.h>\nchar *f(const char *s) { return strlen(s) ? strdup(s) : 0; }"))
    tap.done()


if __name__ == "__main__":
    main()
