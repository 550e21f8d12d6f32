// The operations on logits as Python functions: overloads for float and double, and names of their own for the half
// precisions, whose arrays come as their bits.
#include <algorithm>
#include <memory>
#include <new>
#include <string>

#include "bind.h"

namespace {

template <class S> const xent::RowKernels<S, float>& halves(size_t level);
template <> const xent::RowKernels<xent::Bf16, float>& halves(size_t level) { return *level_at(level).bf16; }
template <> const xent::RowKernels<xent::F16, float>& halves(size_t level) { return *level_at(level).f16; }

template <class S, class T> const xent::RowKernels<S, T>& row_kernels(size_t level) {
    if constexpr (sizeof(S) == 2) return halves<S>(level);
    else return kernels<T>(level);
}

// Rows whose labels are checked at once: they are still in the second-level cache when they are used.
constexpr size_t LABELS = 16384;

struct Free {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t(64)); }
};

// S as kernels have it, T what they compute in, B what the arrays hold.
template <class S, class T, class B> void bind(nb::module_& m, const std::string& suffix) {
    m.def(
        ("row_stats" + suffix).c_str(),
        [](size_t level, Matrix<const B> a, Label label, Probs<T> probs, Column m, Column s, Column t, Maybe<Column> u,
           size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            const auto q = target<T>(label, probs, N, K);
            const auto out = stats(m, s, t, u, N);
            nb::gil_scoped_release release;
            check_labels(level, q.label, begin, end, K);
            row_kernels<S, T>(level).row_stats((const S*)a.data(), q, out, K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "t"_a, "u"_a.none(),
        "begin"_a, "end"_a);

    m.def(
        ("row_grad" + suffix).c_str(),
        [](size_t level, Matrix<const B> a, Label label, Probs<T> probs, ConstColumn m, ConstColumn s, ConstColumn ls,
           ConstColumn lt, ConstColumn lu, Weight weight, Matrix<B> da, size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            need(da.shape(0) == N && da.shape(1) == K, "the gradient has another shape than the logits");
            const auto q = target<T>(label, probs, N, K);
            const auto in = given(m, s, N);
            const auto l = slopes(ls, lt, lu, weight, N, false);
            nb::gil_scoped_release release;
            check_labels(level, q.label, begin, end, K);
            row_kernels<S, T>(level).row_grad((const S*)a.data(), q, in, l, (S*)da.data(), K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "slope_s"_a,
        "slope_t"_a, "slope_u"_a, "weight"_a.none(), nb::arg("dlogits").noconvert(), "begin"_a, "end"_a);

    m.def(
        ("row_fused" + suffix).c_str(),
        [](size_t level, Matrix<const B> a, Label label, Probs<T> probs, ConstColumn ls, ConstColumn lt, ConstColumn lu,
           Weight weight, Maybe<Column> loss, Maybe<Matrix<B>> da, bool past, size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            need(!da || (da->shape(0) == N && da->shape(1) == K), "the gradient has another shape than the logits");
            need_rows(loss, N, "losses and rows differ in number");
            need(!past || !da || da->data() != a.data(), "a gradient in place cannot go past the caches");
            const auto q = target<T>(label, probs, N, K);
            const auto l = slopes(ls, lt, lu, weight, N, true);
            nb::gil_scoped_release release;
            const std::unique_ptr<void, Free> room(::operator new(xent::room_for(K), std::align_val_t(64)));
            double total = 0;
            for (size_t i = begin; i < end; i += LABELS) {
                const size_t stop = std::min(i + LABELS, end);
                check_labels(level, q.label, i, stop, K);
                total += row_kernels<S, T>(level).row_fused((const S*)a.data(), q, l, data(loss), (S*)data(da),
                                                            past && da, room.get(), K, i, stop);
            }
            return total;
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "slope_s"_a, "slope_t"_a,
        "slope_u"_a, "weight"_a.none(), "loss"_a.none(), nb::arg("dlogits").noconvert().none(), "past"_a, "begin"_a,
        "end"_a);
}

}  // namespace

void bind_rows(nb::module_& m) {
    bind<float, float, float>(m, "");
    bind<double, double, double>(m, "");
    bind<xent::Bf16, float, uint16_t>(m, "_bf16");
    bind<xent::F16, float, uint16_t>(m, "_f16");
}
