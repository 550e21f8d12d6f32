// Which levels this machine can run, asked of the processor and of the operating system (which must save the
// registers).
#pragma once

#ifdef XENT_X86
#include <cpuid.h>
#endif

namespace xent {

struct Machine {
    bool avx2 = false, avx512 = false;
};

inline Machine this_machine() {
    Machine m;
#ifdef XENT_X86
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return m;
    const bool os_saves = c >> 27 & 1, fma = c >> 12 & 1, avx = c >> 28 & 1, f16c = c >> 29 & 1;
    if (!os_saves || !fma || !avx || !f16c) return m;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const bool ymm = (low & 0x06) == 0x06, zmm = (low & 0xe6) == 0xe6;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return m;
    m.avx2 = ymm && (b >> 5 & 1);
    m.avx512 = zmm && (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);  // F, DQ, BW, VL
#endif
    return m;
}

}  // namespace xent
