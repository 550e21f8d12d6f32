// Numbers in float and in double.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Other;

template <class T> void from_other(const Other<T>* from, T* to, ptrdiff_t n) {
    constexpr ptrdiff_t W = Vec<float>::width;
    ptrdiff_t i = 0;
    for (; i + W <= n; i += W) {
        if constexpr (sizeof(T) == 4) {
            store(to + i, rounded(load_wide<float>(from + i)));
        } else {
            const Wide<float> wide = widened(load(from + i));
            for (int h = 0; h < Wide<float>::n; h++) store(to + i + h * Vec<double>::width, wide.v[h]);
        }
    }
    for (; i < n; i++) to[i] = T(from[i]);
}

template <class T> void to_other(const T* from, Other<T>* to, ptrdiff_t n) { from_other<Other<T>>(from, to, n); }

}  // namespace XENT_NAMESPACE
