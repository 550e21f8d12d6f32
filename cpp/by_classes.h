// The operations on logits, by the number of classes: narrow.h or rows.h.
#pragma once

#include "narrow.h"

namespace XENT_NAMESPACE {

// Which code a call goes to: by its classes, and by whether its target is soft. Apart from each other, statistics and
// gradients are also those of blocks of a row's classes, 96 or more (linear_many.h), in which narrow_grad would miss the
// others: it takes p - 1 from the other classes' sum.
constexpr ptrdiff_t WHOLE_ROWS = 64;

template <class S>
void row_stats(const S* a, Target<Computed<S>> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    (K > WHOLE_ROWS ? wide_stats<S>
     : q.probs      ? narrow_stats<S, 0, true>
     : K == 2       ? narrow_stats<S, 2, false>
                    : narrow_stats<S, 0, false>)(a, q, out, K, begin, end);
}

template <class S>
void row_grad(const S* a, Target<Computed<S>> q, Stats in, Slopes slopes, S* da, ptrdiff_t K, ptrdiff_t begin,
              ptrdiff_t end) {
    (K > WHOLE_ROWS ? wide_grad<S>
     : q.probs      ? narrow_grad<S, 0, true>
     : K == 2       ? narrow_grad<S, 2, false>
                    : narrow_grad<S, 0, false>)(a, q, in, slopes, da, K, begin, end);
}

template <class S, bool GRAD>
double fused(const S* a, Target<Computed<S>> q, Slopes slopes, double* loss, S* da, bool past, void* room, ptrdiff_t K,
             ptrdiff_t begin, ptrdiff_t end) {
    if (K > NARROW) return wide_fused<S, GRAD>(a, q, slopes, loss, da, past, room, K, begin, end);
    const auto narrow = q.probs       ? narrow_fused<S, GRAD, 0, true, 1>
                        : K == 2      ? narrow_fused<S, GRAD, 2, false, 4>
                        : K == 3      ? narrow_fused<S, GRAD, 3, false, 2>
                        : K == 4      ? narrow_fused<S, GRAD, 4, false, 2>
                        : K <= PAIRED ? narrow_fused<S, GRAD, 0, false, 2>
                                      : narrow_fused<S, GRAD, 0, false, 1>;
    return narrow(a, q, slopes, loss, da, past, room, K, begin, end);
}

template <class S>
double row_fused(const S* a, Target<Computed<S>> q, Slopes slopes, double* loss, S* da, bool past, void* room,
                 ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    return (da ? fused<S, true> : fused<S, false>)(a, q, slopes, loss, da, past, room, K, begin, end);
}

}  // namespace XENT_NAMESPACE
