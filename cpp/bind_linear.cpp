// The operations on a linear layer as Python objects: a layer's arrays are checked once, its methods are called by many
// tasks at a time.
#include <nanobind/stl/vector.h>

#include "bind.h"
#include "linear_many.h"

namespace {

struct Span {
    ptrdiff_t begin, end;
};

inline Span span(size_t begin, size_t end, size_t N) {
    need_range(begin, end, N);
    return {ptrdiff_t(begin), ptrdiff_t(end)};
}

template <class T> struct Layer {
    const xent::Kernels<T>& kernels;
    Features x;
    Matrix<const T> w;
    Maybe<Vector<T>> packed;
    Bias<T> bias;
    Label label;
    Probs<T> probs;
    xent::Linear<T> p;
    int64_t (*largest)(const int64_t* label, ptrdiff_t n);

    Layer(size_t level, Features x, Matrix<const T> w, Maybe<Vector<T>> packed, Bias<T> bias, Label label,
          Probs<T> probs)
        : kernels(::kernels<T>(level)), x(x), w(w), packed(packed), bias(bias), label(label), probs(probs),
          largest(level_at(level).largest) {
        const size_t N = x.shape(0), D = x.shape(1), K = w.shape(0), P = kernels.panel;
        need(w.shape(1) == D, "x and w differ in features");
        need(!packed || packed->shape(0) == (K + P - 1) / P * P * D, "packed weights have another size");
        need_rows(bias, K, "bias and classes differ in number");
        p = {stored<const T>(x), data(packed), w.data(),     data(bias),
             target<T>(label, probs, N, K), ptrdiff_t(N), ptrdiff_t(D), ptrdiff_t(K),
             stored<const xent::Other<T>>(x)};
        need(p.x || p.other || N * D == 0, "x must be float or double");
    }

    // Called without the lock of the interpreter: a million labels take a while.
    void check_labels(Span rows) const {
        if (!label) return;
        const int64_t most = largest(p.target.label + rows.begin, rows.end - rows.begin);
        need(most < p.K, "a label is out of range");
    }

    xent::Rows rows(size_t tile, Span of) const {
        need(tile > 0, "a tile needs rows");
        need(packed.has_value(), "weights are not packed");
        return {of.begin, of.end, ptrdiff_t(tile)};
    }

    xent::LinearGrads<T> grads(const Maybe<AnyMatrix>& dx, const Maybe<Matrix<T>>& dw, const Maybe<Column>& db,
                               bool past) const {
        need(!dx || (dx->shape(0) == size_t(p.N) && dx->shape(1) == size_t(p.D)), "dx has another shape than x");
        need(!dx || dx->dtype() == x.dtype(), "dx has another type than x");
        need(!dw || (dw->shape(0) == size_t(p.K) && dw->shape(1) == size_t(p.D)), "dw has another shape than w");
        need_rows(db, p.K, "db has another shape than bias");
        if (!dx) return {nullptr, data(dw), data(db)};
        return {stored<T>(*dx), data(dw), data(db), past && !p.other, stored<xent::Other<T>>(*dx)};
    }

    xent::RowTile<T> tile(Vector<T>& turned, Vector<T>& packed_x) const {
        const size_t R = p.N, P = kernels.panel, D = p.D;
        need(turned.shape(0) >= (R + P - 1) / P * P * D && packed_x.shape(0) >= (D + P - 1) / P * P * R,
             "there is no room for the tile");
        return {turned.data(), packed_x.data()};
    }

    xent::Classes classes(const std::vector<size_t>& c) const {
        need(c.size() == 4 && c[0] <= c[1] && c[1] <= size_t(p.K) && c[2] > 0 && c[3] > 0, "classes are out of range");
        return {ptrdiff_t(c[0]), ptrdiff_t(c[1]), ptrdiff_t(c[2]), ptrdiff_t(c[3])};
    }

    xent::Part* parts(Column& a, size_t groups) const {
        need(a.shape(0) == groups * p.N * sizeof(xent::Part) / sizeof(double), "parts have another size");
        return reinterpret_cast<xent::Part*>(a.data());
    }

    T* kept(const Maybe<Vector<T>>& z) const {
        need(!z || z->shape(0) >= size_t(p.K * p.N), "there is no room for the logits");
        return data(z);
    }
};

template <class T> void bind_tiles(nb::class_<Layer<T>>& c) {
    using L = Layer<T>;
    c.def("pack", [](L& l, size_t first, size_t last) {
        const size_t P = l.kernels.panel;
        need(l.packed && first <= last && last <= (l.p.K + P - 1) / P, "panels are out of range");
        nb::gil_scoped_release release;
        xent::pack_w(l.kernels, l.p.w, l.p.K, l.p.D, l.packed->data(), first, last);
    });
    c.def(
        "stats",
        [](L& l, Column m, Column s, Column t, Maybe<Column> u, size_t tile, size_t begin, size_t end) {
            const Span of = span(begin, end, l.p.N);
            const auto rows = l.rows(tile, of);
            const auto out = stats(m, s, t, u, l.p.N);
            nb::gil_scoped_release release;
            l.check_labels(of);
            xent::linear_stats(l.kernels, l.p, rows, out);
        },
        "m"_a, "s"_a, "t"_a, "u"_a.none(), "tile"_a, "begin"_a, "end"_a);
    c.def(
        "grad",
        [](L& l, ConstColumn m, ConstColumn s, ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight,
           Maybe<AnyMatrix> dx, Maybe<Matrix<T>> dw, Maybe<Column> db, bool past, size_t tile, size_t begin,
           size_t end) {
            const Span of = span(begin, end, l.p.N);
            const auto rows = l.rows(tile, of);
            const auto in = given(m, s, l.p.N);
            const auto slope = slopes(ls, lt, lu, weight, l.p.N, false);
            const auto g = l.grads(dx, dw, db, past);
            nb::gil_scoped_release release;
            l.check_labels(of);
            xent::linear_grad(l.kernels, l.p, rows, in, slope, g);
        },
        "m"_a, "s"_a, "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(), nb::arg("dx").noconvert().none(),
        nb::arg("dw").noconvert().none(), "db"_a.none(), "past"_a, "tile"_a, "begin"_a, "end"_a);
    c.def(
        "fused",
        [](L& l, ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight, Maybe<Column> loss, Maybe<AnyMatrix> dx,
           Maybe<Matrix<T>> dw, Maybe<Column> db, bool past, size_t tile, size_t begin, size_t end) {
            const Span of = span(begin, end, l.p.N);
            const auto rows = l.rows(tile, of);
            need_rows(loss, l.p.N, "losses and rows differ in number");
            const auto slope = slopes(ls, lt, lu, weight, l.p.N, true);
            const auto g = l.grads(dx, dw, db, past);
            nb::gil_scoped_release release;
            l.check_labels(of);
            return xent::linear_fused(l.kernels, l.p, rows, slope, data(loss), g);
        },
        "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(), "loss"_a.none(), nb::arg("dx").noconvert().none(),
        nb::arg("dw").noconvert().none(), "db"_a.none(), "past"_a, "tile"_a, "begin"_a, "end"_a);
}

template <class T> void bind_blocks(nb::class_<Layer<T>>& c) {
    using L = Layer<T>;
    c.def(
        "pack_tile",
        [](L& l, Weight weight, Vector<T> turned, Vector<T> packed) {
            const auto tile = l.tile(turned, packed);
            need_rows(weight, l.p.N, "weights and rows differ in number");
            need(!l.p.other, "x must have the type of w here");
            nb::gil_scoped_release release;
            l.check_labels({0, l.p.N});
            xent::pack_tile(l.kernels, l.p, data(weight), tile);
        },
        "weight"_a.none(), "turned"_a, "packed"_a);
    c.def(
        "many_stats",
        [](L& l, Vector<T> turned, Vector<T> packed, Maybe<Vector<T>> kept, Column parts, bool want_u,
           std::vector<size_t> classes) {
            const auto tile = l.tile(turned, packed);
            const auto c = l.classes(classes);
            auto* out = l.parts(parts, 1);
            auto* z = l.kept(kept);
            nb::gil_scoped_release release;
            l.check_labels({0, l.p.N});
            xent::many_stats(l.kernels, l.p, tile, c, z, out, want_u);
        },
        "turned"_a, "packed"_a, "kept"_a.none(), "parts"_a, "want_u"_a, "classes"_a);
    c.def(
        "many_merge",
        [](L& l, Column parts, size_t groups, Column m, Column s, Column t, Maybe<Column> u) {
            const auto* in = l.parts(parts, groups);
            const auto out = stats(m, s, t, u, l.p.N);
            nb::gil_scoped_release release;
            xent::many_merge(l.p, in, groups, out);
        },
        "parts"_a, "groups"_a, "m"_a, "s"_a, "t"_a, "u"_a.none());
    c.def(
        "many_grad",
        [](L& l, Vector<T> turned, Vector<T> packed, Maybe<Vector<T>> kept, ConstColumn m, ConstColumn s,
           ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight, Maybe<Vector<T>> dx, Maybe<Matrix<T>> dw,
           Maybe<Column> db, bool first_tile, std::vector<size_t> classes) {
            const auto tile = l.tile(turned, packed);
            const auto c = l.classes(classes);
            auto* z = l.kept(kept);
            const auto in = given(m, s, l.p.N);
            const auto slope = slopes(ls, lt, lu, weight, l.p.N, ls.shape(0) == 1);
            const auto g = l.grads(std::nullopt, dw, db, false);
            need(!dx || dx->shape(0) == size_t(l.p.N * l.p.D), "dx has another size than the tile");
            nb::gil_scoped_release release;
            l.check_labels({0, l.p.N});
            xent::many_grad(l.kernels, l.p, tile, c, z, in, slope, g, data(dx), first_tile);
        },
        "turned"_a, "packed"_a, "kept"_a.none(), "m"_a, "s"_a, "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(),
        nb::arg("dx").noconvert().none(), nb::arg("dw").noconvert().none(), "db"_a.none(), "first_tile"_a, "classes"_a);
}

template <class T> void bind(nb::module_& m, const char* name) {
    nb::class_<Layer<T>> c(m, name);
    bind_tiles(c);
    bind_blocks(c);
    m.def(
        "layer",
        [](size_t level, Features x, Matrix<const T> w, Maybe<Vector<T>> packed, Bias<T> bias, Label label,
           Probs<T> probs) { return new Layer<T>(level, x, w, packed, bias, label, probs); },
        "level"_a, nb::arg("x").noconvert(), nb::arg("w").noconvert(), nb::arg("packed").noconvert().none(),
        "bias"_a.none(), "label"_a.none(), "probs"_a.none());
    m.def(
        "sum_parts",
        [](size_t level, Matrix<const T> parts, Vector<T> out, size_t begin, size_t end) {
            const Span of = span(begin, end, out.shape(0));
            need(parts.shape(1) == out.shape(0), "parts and their sum differ in size");
            const auto& k = kernels<T>(level);
            nb::gil_scoped_release release;
            k.sum_parts(parts.data(), parts.shape(0), parts.shape(1), out.data(), of.begin, of.end);
        },
        "level"_a, nb::arg("parts").noconvert(), nb::arg("out").noconvert(), "begin"_a, "end"_a);
}

}  // namespace

void bind_linear(nb::module_& m) {
    bind<float>(m, "LayerFloat");
    bind<double>(m, "LayerDouble");
}
