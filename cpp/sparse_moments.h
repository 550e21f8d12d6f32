// Weighted first and second moments of the columns of sparse rows, in one pass.
#pragma once

#include "sparse.h"

namespace XENT_NAMESPACE {

// out (D, 2) += the sums of w v and w v^2 over the rows [begin, end); the first row that does not lie within the matrix,
// or -1. Both sums of a column lie side by side: one access a nonzero.
template <class T, class I>
ptrdiff_t column_moments(const Csr<T, I>& x, const double* weight, ptrdiff_t begin, ptrdiff_t end, double* out) {
    typedef double Pair __attribute__((vector_size(16), aligned(8), may_alias));
    constexpr ptrdiff_t U = 8;
    for (ptrdiff_t i = begin, checked = begin; i < end; i++) {
        if (i == checked) {
            const ptrdiff_t bad = check_some(x, checked, end);
            if (bad >= 0) return bad;
        }
        const I* column = x.column + x.start[i];
        const T* value = x.value + x.start[i];
        const ptrdiff_t n = x.start[i + 1] - x.start[i];
        const double w = weight[i];
        ptrdiff_t p = 0;
        for (; p + U <= n; p += U) {
            __builtin_prefetch(column + p + AHEAD_OF_X);
            __builtin_prefetch(value + p + AHEAD_OF_X);
            Pair both[U];
#pragma GCC unroll 8
            for (ptrdiff_t u = 0; u < U; u++) {
                const double v = double(value[p + u]), wv = w * v;
                both[u] = Pair{wv, wv * v};
            }
#pragma GCC unroll 8
            for (ptrdiff_t u = 0; u < U; u++) *(Pair*)(out + 2 * ptrdiff_t(column[p + u])) += both[u];
        }
        for (; p < n; p++) {
            const double v = double(value[p]), wv = w * v;
            *(Pair*)(out + 2 * ptrdiff_t(column[p])) += Pair{wv, wv * v};
        }
    }
    return -1;
}

}  // namespace XENT_NAMESPACE
