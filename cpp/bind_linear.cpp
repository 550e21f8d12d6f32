// The operations on a linear layer as Python functions.
#include "bind.h"
#include "linear.h"

namespace {

template <class T>
xent::Linear<T> linear(size_t level, const Matrix<const T>& x, const Vector<const T>& packed, const Matrix<const T>& w,
                       const Maybe<Vector<const T>>& bias, const Maybe<Vector<const int64_t>>& label,
                       const Maybe<Matrix<const T>>& probs, size_t tile_rows, size_t begin, size_t end) {
    const size_t N = x.shape(0), D = x.shape(1), K = w.shape(0), P = kernels<T>(level).panel;
    need(w.shape(1) == D, "x and w differ in features");
    need(packed.shape(0) == (K + P - 1) / P * P * D, "packed weights have another size");
    need(tile_rows > 0, "a tile needs rows");
    need_rows(bias, K, "bias and classes differ in number");
    need_range(begin, end, N);
    return {x.data(),
            packed.data(),
            w.data(),
            data(bias),
            target<T>(level, label, probs, begin, end, N, K),
            ptrdiff_t(D),
            ptrdiff_t(K),
            ptrdiff_t(tile_rows),
            ptrdiff_t(begin),
            ptrdiff_t(end)};
}

template <class T>
xent::LinearGrads<T> grads(const xent::Linear<T>& p, size_t N, const Maybe<Matrix<T>>& dx, const Maybe<Matrix<T>>& dw,
                           const Maybe<Matrix<T>>& residual, const Maybe<Column>& db) {
    const size_t D = p.D, K = p.K;
    need(!dx || (dx->shape(0) == N && dx->shape(1) == D), "dx has another shape than x");
    need(!dw || (dw->shape(0) == K && dw->shape(1) == D), "dw has another shape than w");
    need(!residual || (residual->shape(0) >= size_t(p.end - p.begin) && residual->shape(1) == K),
         "residual has another shape");
    need_rows(db, K, "db has another shape than bias");
    return {data(dx), data(dw), data(residual), data(db)};
}

template <class T> void bind(nb::module_& m) {
    m.def(
        "pack",
        [](size_t level, Matrix<const T> w, Vector<T> packed, size_t first, size_t last) {
            const size_t K = w.shape(0), D = w.shape(1), P = kernels<T>(level).panel, panels = (K + P - 1) / P;
            need(packed.shape(0) == panels * P * D && first <= last && last <= panels, "packed has another size");
            nb::gil_scoped_release release;
            kernels<T>(level).pack(w.data(), K, D, packed.data(), first, last);
        },
        "level"_a, nb::arg("w").noconvert(), nb::arg("packed").noconvert(), "first_panel"_a, "last_panel"_a);

    m.def(
        "linear_stats",
        [](size_t level, Matrix<const T> x, Vector<const T> packed, Matrix<const T> w, Bias<T> bias, Label label,
           Probs<T> probs, Column m, Column s, Column t, Maybe<Column> u, size_t tile_rows, size_t begin, size_t end) {
            const auto p = linear<T>(level, x, packed, w, bias, label, probs, tile_rows, begin, end);
            const auto out = stats(m, s, t, u, x.shape(0));
            nb::gil_scoped_release release;
            xent::linear_stats(kernels<T>(level), p, out);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "t"_a, "u"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "linear_grad",
        [](size_t level, Matrix<const T> x, Vector<const T> packed, Matrix<const T> w, Bias<T> bias, Label label,
           Probs<T> probs, ConstColumn m, ConstColumn s, ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight,
           Maybe<Matrix<T>> dx, Maybe<Matrix<T>> dw, Maybe<Matrix<T>> residual, Maybe<Column> db, size_t tile_rows,
           size_t begin, size_t end) {
            const auto p = linear<T>(level, x, packed, w, bias, label, probs, tile_rows, begin, end);
            const auto in = given(m, s, x.shape(0));
            const auto l = slopes(ls, lt, lu, weight, x.shape(0), false);
            const auto g = grads(p, x.shape(0), dx, dw, residual, db);
            nb::gil_scoped_release release;
            xent::linear_grad(kernels<T>(level), p, in, l, g);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(),
        nb::arg("dx").noconvert().none(), nb::arg("dw").noconvert().none(), nb::arg("residual").noconvert().none(),
        "db"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "linear_fused",
        [](size_t level, Matrix<const T> x, Vector<const T> packed, Matrix<const T> w, Bias<T> bias, Label label,
           Probs<T> probs, ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight, Column loss, Maybe<Matrix<T>> dx,
           Maybe<Matrix<T>> dw, Maybe<Matrix<T>> residual, Maybe<Column> db, size_t tile_rows, size_t begin,
           size_t end) {
            const auto p = linear<T>(level, x, packed, w, bias, label, probs, tile_rows, begin, end);
            need(loss.shape(0) == x.shape(0), "losses and rows differ in number");
            const auto l = slopes(ls, lt, lu, weight, x.shape(0), true);
            const auto g = grads(p, x.shape(0), dx, dw, residual, db);
            nb::gil_scoped_release release;
            xent::linear_fused(kernels<T>(level), p, l, loss.data(), g);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(), "loss"_a,
        nb::arg("dx").noconvert().none(), nb::arg("dw").noconvert().none(), nb::arg("residual").noconvert().none(),
        "db"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "add_dw",
        [](size_t level, Matrix<const T> x, Matrix<const T> residual, Matrix<T> dw, size_t begin, size_t end,
           size_t first, size_t last) {
            const size_t K = dw.shape(0), D = dw.shape(1);
            need_range(begin, end, x.shape(0));
            need(x.shape(1) == D && residual.shape(1) == K && residual.shape(0) >= end - begin && first <= last &&
                     last <= K,
                 "residual, x and dw do not fit");
            const xent::Linear<T> p = {x.data(),     nullptr,      nullptr, nullptr,          {},
                                       ptrdiff_t(D), ptrdiff_t(K), 1,       ptrdiff_t(begin), ptrdiff_t(end)};
            nb::gil_scoped_release release;
            xent::add_dw(kernels<T>(level), p, residual.data(), dw.data(), begin, end, first, last);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("residual").noconvert(), nb::arg("dw").noconvert(), "begin"_a,
        "end"_a, "first_class"_a, "last_class"_a);
}

}  // namespace

void bind_linear(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}
