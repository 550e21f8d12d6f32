// Numbers in float and in double.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Other;

typedef float HalfFU __attribute__((vector_size(XENT_VECTOR_BYTES / 2), aligned(4), may_alias));

// A vector of T from numbers of either type.
template <class T> XENT_INLINE V<T> read_as(const T* p) { return load(p); }
template <class T> XENT_INLINE V<T> read_as(const Other<T>* p) {
    if constexpr (sizeof(T) == 4) return rounded(load_wide<float>(p));
    else return __builtin_convertvector((HalfF)*(const HalfFU*)p, VecD);
}

template <class T> void from_other(const Other<T>* from, T* to, ptrdiff_t n) {
    constexpr ptrdiff_t W = Vec<T>::width;
    ptrdiff_t i = 0;
    for (; i + W <= n; i += W) store(to + i, read_as<T>(from + i));
    for (; i < n; i++) to[i] = T(from[i]);
}

template <class T> void to_other(const T* from, Other<T>* to, ptrdiff_t n) { from_other<Other<T>>(from, to, n); }

}  // namespace XENT_NAMESPACE
