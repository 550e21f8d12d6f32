// Directional derivatives of a linear layer's gradients as Python functions.
#include "bind.h"
#include "hvp_layer.h"

namespace {

template <class T> void fits(const Maybe<Matrix<const T>>& a, size_t rows, size_t columns, const char* what) {
    need(!a || (a->shape(0) == rows && a->shape(1) == columns), what);
}

template <class T> void bind(nb::module_& m) {
    using In = Maybe<Matrix<const T>>;
    using Out = Maybe<Matrix<T>>;
    m.def(
        "pack",
        [](size_t level, Matrix<const T> w, Vector<T> packed, size_t first, size_t last) {
            const size_t K = w.shape(0), D = w.shape(1), P = kernels<T>(level).panel, panels = (K + P - 1) / P;
            need(packed.shape(0) == panels * P * D && first <= last && last <= panels, "packed has another size");
            nb::gil_scoped_release release;
            xent::pack_w(kernels<T>(level), w.data(), K, D, packed.data(), first, last);
        },
        "level"_a, nb::arg("w").noconvert(), nb::arg("packed").noconvert(), "first_panel"_a, "last_panel"_a);

    m.def(
        "linear_hvp",
        [](size_t level, Features x, Vector<const T> packed, Matrix<const T> w, Bias<T> bias, Label label,
           Probs<T> probs, In vx, In vw, Bias<T> packed_v, Bias<T> vb, ConstColumn ls, ConstColumn lt, ConstColumn lu,
           Weight weight, Weight ss, Weight st, Weight tt, Maybe<AnyMatrix> dx, Out dw, Out moved, Out residual,
           Maybe<Column> db, size_t tile_rows, size_t begin, size_t end) {
            const size_t N = x.shape(0), D = x.shape(1), K = w.shape(0), P = kernels<T>(level).panel;
            const size_t size = (K + P - 1) / P * P * D;
            need(w.shape(1) == D && packed.shape(0) == size, "x, w and the packed weights do not fit");
            need(!vw == !packed_v && (!packed_v || packed_v->shape(0) == size), "packed directions have another size");
            need(tile_rows > 0, "a tile needs rows");
            need_rows(bias, K, "bias and classes differ in number");
            need_rows(vb, K, "the direction of the bias and classes differ in number");
            need_range(begin, end, N);
            fits(vx, N, D, "the direction of x has another shape than x");
            fits(vw, K, D, "the direction of w has another shape than w");
            need(!dx || (dx->shape(0) == N && dx->shape(1) == D), "dx has another shape than x");
            need(!dx || dx->dtype() == x.dtype(), "dx has another type than x");
            need(!dw || (dw->shape(0) == K && dw->shape(1) == D), "dw has another shape than w");
            for (const Out* a : {&moved, &residual})
                need(!*a || ((*a)->shape(0) >= end - begin && (*a)->shape(1) == K), "residuals have another shape");
            need(!moved || !vx || residual, "a direction in x needs both residuals");
            need_rows(db, K, "db has another shape than bias");
            need(!ss == !st && !ss == !tt, "curvatures come in threes");
            need_rows(ss, N, "curvatures and rows differ in number");
            need_rows(st, N, "curvatures and rows differ in number");
            need_rows(tt, N, "curvatures and rows differ in number");
            using O = xent::Other<T>;
            const xent::Linear<T> p = {stored<const T>(x), packed.data(), w.data(),     data(bias),
                                       target<T>(label, probs, N, K), ptrdiff_t(N), ptrdiff_t(D), ptrdiff_t(K),
                                       stored<const O>(x)};
            need(p.x || p.other || N * D == 0, "x must be float or double");
            const xent::Rows of = {ptrdiff_t(begin), ptrdiff_t(end), ptrdiff_t(tile_rows)};
            const auto l = slopes(ls, lt, lu, weight, N, ls.shape(0) == 1);
            const xent::Direction<T> v = {data(vx), data(vw), data(packed_v), data(vb)};
            const xent::HvpGrads<T> g = {dx ? stored<T>(*dx) : nullptr, data(dw), data(moved), data(residual), data(db),
                                         dx ? stored<O>(*dx) : nullptr};
            nb::gil_scoped_release release;
            check_labels(level, p.target.label, begin, end, K);
            xent::linear_hvp(kernels<T>(level), p, of, v, l, {data(ss), data(st), data(tt)}, g);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "vx"_a.none(), "vw"_a.none(), "packed_v"_a.none(), "vb"_a.none(),
        "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(), "ss"_a.none(), "st"_a.none(), "tt"_a.none(),
        nb::arg("dx").noconvert().none(), nb::arg("dw").noconvert().none(), nb::arg("moved").noconvert().none(),
        nb::arg("residual").noconvert().none(), "db"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "add_hvp_dw",
        [](size_t level, Matrix<const T> x, In vx, Label label, Weight weight, Matrix<const T> moved, In residual,
           Matrix<T> dw, size_t begin, size_t end, size_t first, size_t last) {
            const size_t N = x.shape(0), K = dw.shape(0), D = dw.shape(1);
            need_range(begin, end, N);
            need_rows(label, N, "labels and rows differ in number");
            need_rows(weight, N, "weights and rows differ in number");
            const size_t at = begin * D;
            need(x.shape(1) == D && moved.shape(1) == K && moved.shape(0) >= end - begin && first <= last && last <= K,
                 "residuals, x and dw do not fit");
            fits(vx, N, D, "the direction of x has another shape than x");
            need(!vx == !residual, "a direction in x needs both residuals");
            need(!residual || (residual->shape(1) == K && residual->shape(0) >= end - begin), "residuals do not fit");
            const xent::Linear<T> p = {x.data(),     nullptr,      nullptr,     nullptr, {data(label), nullptr},
                                       ptrdiff_t(N), ptrdiff_t(D), ptrdiff_t(K)};
            nb::gil_scoped_release release;
            xent::add_hvp_dw(kernels<T>(level), p, data(weight), x.data() + at, vx ? vx->data() + at : nullptr, moved.data(), data(residual), dw.data(),
                             begin, end, first, last);
        },
        "level"_a, nb::arg("x").noconvert(), "vx"_a.none(), "label"_a.none(), "weight"_a.none(),
        nb::arg("moved").noconvert(), "residual"_a.none(), nb::arg("dw").noconvert(), "begin"_a, "end"_a,
        "first_class"_a, "last_class"_a);
}

}  // namespace

void bind_hvp(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}
