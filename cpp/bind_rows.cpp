// The operations on logits as Python functions.
#include "bind.h"

namespace {

template <class T> void bind(nb::module_& m) {
    m.def(
        "row_stats",
        [](size_t level, Matrix<const T> a, Label label, Probs<T> probs, Column m, Column s, Column t, Maybe<Column> u,
           size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            const auto q = target<T>(label, probs, begin, end, N, K);
            const auto out = stats(m, s, t, u, N);
            nb::gil_scoped_release release;
            kernels<T>(level).row_stats(a.data(), q, out, K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "t"_a, "u"_a.none(),
        "begin"_a, "end"_a);

    m.def(
        "row_grad",
        [](size_t level, Matrix<const T> a, Label label, Probs<T> probs, ConstColumn m, ConstColumn s, ConstColumn ls,
           ConstColumn lt, ConstColumn lu, Weight weight, Matrix<T> da, size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            need(da.shape(0) == N && da.shape(1) == K, "the gradient has another shape than the logits");
            const auto q = target<T>(label, probs, begin, end, N, K);
            const auto in = given(m, s, N);
            const auto l = slopes(ls, lt, lu, weight, N, false);
            nb::gil_scoped_release release;
            kernels<T>(level).row_grad(a.data(), q, in, l, da.data(), K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "slope_s"_a,
        "slope_t"_a, "slope_u"_a, "weight"_a.none(), nb::arg("dlogits").noconvert(), "begin"_a, "end"_a);

    m.def(
        "row_fused",
        [](size_t level, Matrix<const T> a, Label label, Probs<T> probs, ConstColumn ls, ConstColumn lt, ConstColumn lu,
           Weight weight, Column loss, Matrix<T> da, size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            need(da.shape(0) == N && da.shape(1) == K && loss.shape(0) == N, "outputs differ in shape from the logits");
            const auto q = target<T>(label, probs, begin, end, N, K);
            const auto l = slopes(ls, lt, lu, weight, N, true);
            nb::gil_scoped_release release;
            kernels<T>(level).row_fused(a.data(), q, l, loss.data(), da.data(), K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "slope_s"_a, "slope_t"_a,
        "slope_u"_a, "weight"_a.none(), "loss"_a, nb::arg("dlogits").noconvert(), "begin"_a, "end"_a);
}

}  // namespace

void bind_rows(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}
