// The operations on a linear layer of sparse rows as Python functions.
#include <string>

#include "bind.h"
#include "sparse_layer.h"

namespace {

template <class T, class I> const xent::SparseKernels<T, I>& sparse(size_t level, ptrdiff_t lanes) {
    if constexpr (sizeof(I) == 4) return kernels<T>(level).csr32(lanes);
    else return kernels<T>(level).csr64(lanes);
}

// The lanes that the kernels have instances for.
template <class T> bool can_have(size_t lanes) {
    const size_t line = 64 / sizeof(T);
    return lanes >= line ? lanes % line == 0 : lanes == 1 || lanes == 2 || lanes == 4 || lanes == 8;
}

// x, the rows that count, and w: what every call has. w's columns may hold dw beside the weights, after the lanes.
template <class T, class I> struct Operands {
    size_t level, N, K, lanes;
    bool pair;
    xent::Csr<T, I> x;
    xent::Kept kept;

    Operands(size_t level, const Vector<const int64_t>& start, const Vector<const I>& column,
             const Vector<const T>& value, size_t D, const Label& label, const Weight& weight, size_t K, size_t lanes)
        : level(level),
          N(start.shape(0) - 1),
          K(K),
          lanes(lanes),
          pair(lanes == 1 && K == 2),
          x{start.data(), column.data(), value.data(), ptrdiff_t(D), int64_t(value.shape(0))},
          kept{data(label), data(weight)} {
        need(start.shape(0) > 0 && column.shape(0) == value.shape(0), "start, columns and values do not fit");
        need_rows(label, N, "labels and rows differ in number");
        need_rows(weight, N, "weights and rows differ in number");
        need(can_have<T>(lanes) && (lanes >= K || pair), "no kernel for so many lanes");
    }

    xent::SparseLayer<T, I> layer(const Matrix<const T>& w, const Bias<T>& bias, const Label& label,
                                  const Probs<T>& probs, size_t tile_rows, size_t begin, size_t end) const {
        need(w.shape(0) == size_t(x.D) && w.shape(1) >= lanes, "x and w differ in features");
        need_rows(bias, lanes, "bias and lanes differ in number");
        need(tile_rows > 0, "a tile needs rows");
        need_range(begin, end, N);
        need(!pair || !probs, "a pair of classes needs labels");
        check_labels(level, data(label), begin, end, K);
        return {x,
                kept,
                {w.data(), ptrdiff_t(w.shape(1)), ptrdiff_t(lanes)},
                data(bias),
                target<T>(label, probs, N, K),
                ptrdiff_t(K),
                pair,
                ptrdiff_t(tile_rows),
                ptrdiff_t(begin),
                ptrdiff_t(end)};
    }

    xent::Columns<T> columns(const Maybe<Matrix<T>>& dw, size_t offset) const {
        if (!dw) return {};
        need(dw->shape(0) == size_t(x.D) && dw->shape(1) >= offset + lanes, "dw has another shape than w");
        return {dw->data() + offset, ptrdiff_t(dw->shape(1)), ptrdiff_t(lanes)};
    }

    xent::SparseGrads<T> grads(const Maybe<Matrix<T>>& dw, size_t offset, const Maybe<Vector<T>>& residual,
                               const Maybe<Matrix<uint32_t>>& split, int shift, const Maybe<Column>& db,
                               size_t rows) const {
        need_rows(db, K, "db has another shape than bias");
        need(!residual == !split, "residuals need room for the blocks of each row");
        if (!residual) return {data(db), columns(dw, offset), nullptr, {}};
        check_blocks(*residual, *split, shift, rows);
        return {data(db), columns(dw, offset), residual->data(), blocks(*split, shift)};
    }

    template <class R, class S> void check_blocks(const R& residual, const S& split, int shift, size_t rows) const {
        need(residual.shape(0) >= rows * (pair ? 1 : K) + lanes, "residuals have another size");
        need(shift >= 0 && shift < 63 && split.shape(0) >= rows && split.shape(1) >= 2 &&
                 (uint64_t(x.D) + (uint64_t(1) << shift) - 1) >> shift <= split.shape(1) - 1,
             "too few blocks of columns");
    }

    template <class S> static xent::Split blocks(const S& split, int shift) {
        return {const_cast<uint32_t*>(split.data()), ptrdiff_t(split.shape(1)) - 1, shift};
    }
};

#define XENT_CSR_ARGS                                                                                           \
    "level"_a, "start"_a, nb::arg("column").noconvert(), nb::arg("value").noconvert(), "D"_a, "label"_a.none(), \
        "weight"_a.none(), "K"_a, "lanes"_a
#define XENT_LAYER_ARGS nb::arg("w").noconvert(), "bias"_a.none(), "probs"_a.none(), "tile_rows"_a
#define XENT_GRAD_ARGS                                                                    \
    nb::arg("dw").noconvert().none(), "offset"_a, nb::arg("residual").noconvert().none(), \
        nb::arg("split").noconvert().none(), "shift"_a, "db"_a.none(), "begin"_a, "end"_a

template <class T, class I> void bind(nb::module_& m) {
    using Start = Vector<const int64_t>;
    using Index = Vector<const I>;
    using Value = Vector<const T>;
    using Weights = Matrix<const T>;
    using Dw = Maybe<Matrix<T>>;
    using Residual = Maybe<Vector<T>>;
    using Blocks = Maybe<Matrix<uint32_t>>;
    m.def(
        "sparse_stats",
        [](size_t level, Start start, Index column, Value value, size_t D, Label label, Weight weight, size_t K,
           size_t lanes, Weights w, Bias<T> bias, Probs<T> probs, size_t tile_rows, Column m, Column s, Column t,
           Maybe<Column> u, size_t begin, size_t end) {
            const Operands<T, I> o(level, start, column, value, D, label, weight, K, lanes);
            const auto p = o.layer(w, bias, label, probs, tile_rows, begin, end);
            const auto out = stats(m, s, t, u, o.N);
            need(!o.pair, "statistics need both classes");
            nb::gil_scoped_release release;
            need_valid(xent::sparse_stats(kernels<T>(level), sparse<T, I>(level, lanes), p, out), D);
        },
        XENT_CSR_ARGS, XENT_LAYER_ARGS, "m"_a, "s"_a, "t"_a, "u"_a.none(), "begin"_a, "end"_a);

    m.def(
        "sparse_grad",
        [](size_t level, Start start, Index column, Value value, size_t D, Label label, Weight weight, size_t K,
           size_t lanes, Weights w, Bias<T> bias, Probs<T> probs, size_t tile_rows, ConstColumn m, ConstColumn s,
           ConstColumn ls, ConstColumn lt, ConstColumn lu, Dw dw, size_t offset, Residual residual, Blocks split,
           int shift, Maybe<Column> db, size_t begin, size_t end) {
            const Operands<T, I> o(level, start, column, value, D, label, weight, K, lanes);
            const auto p = o.layer(w, bias, label, probs, tile_rows, begin, end);
            const auto in = given(m, s, o.N);
            const auto l = slopes(ls, lt, lu, weight, o.N, false);
            const auto g = o.grads(dw, offset, residual, split, shift, db, end - begin);
            need(!o.pair, "slopes of rows need both classes");
            nb::gil_scoped_release release;
            need_valid(xent::sparse_grad(kernels<T>(level), sparse<T, I>(level, lanes), p, in, l, g), D);
        },
        XENT_CSR_ARGS, XENT_LAYER_ARGS, "m"_a, "s"_a, "slope_s"_a, "slope_t"_a, "slope_u"_a, XENT_GRAD_ARGS);

    m.def(
        "sparse_fused",
        [](size_t level, Start start, Index column, Value value, size_t D, Label label, Weight weight, size_t K,
           size_t lanes, Weights w, Bias<T> bias, Probs<T> probs, size_t tile_rows, ConstColumn ls, ConstColumn lt,
           ConstColumn lu, Maybe<Column> loss, Dw dw, size_t offset, Residual residual, Blocks split, int shift,
           Maybe<Column> db, size_t begin, size_t end) {
            const Operands<T, I> o(level, start, column, value, D, label, weight, K, lanes);
            const auto p = o.layer(w, bias, label, probs, tile_rows, begin, end);
            need_rows(loss, o.N, "losses and rows differ in number");
            const auto l = slopes(ls, lt, lu, weight, o.N, true);
            const auto g = o.grads(dw, offset, residual, split, shift, db, end - begin);
            double total = 0;
            nb::gil_scoped_release release;
            need_valid(xent::sparse_fused(kernels<T>(level), sparse<T, I>(level, lanes), p, l, data(loss), total, g),
                       D);
            return total;
        },
        XENT_CSR_ARGS, XENT_LAYER_ARGS, "slope_s"_a, "slope_t"_a, "slope_u"_a, "loss"_a.none(), XENT_GRAD_ARGS);

    m.def(
        "sparse_hvp",
        [](size_t level, Start start, Index column, Value value, size_t D, Label label, Weight weight, size_t K,
           size_t lanes, Weights w, Bias<T> bias, Probs<T> probs, size_t tile_rows, Weights v, Bias<T> vb,
           ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight ss, Weight st, Weight tt, Dw dw, size_t offset,
           Residual residual, Blocks split, int shift, Maybe<Column> db, size_t begin, size_t end) {
            const Operands<T, I> o(level, start, column, value, D, label, weight, K, lanes);
            const auto p = o.layer(w, bias, label, probs, tile_rows, begin, end);
            need(v.shape(0) == w.shape(0) && v.shape(1) == w.shape(1), "w and its direction differ in shape");
            need_rows(vb, lanes, "bias and lanes differ in number");
            const auto l = slopes(ls, lt, lu, weight, o.N, ls.shape(0) == 1);
            need(!ss == !st && !ss == !tt, "curvatures come in threes");
            need_rows(ss, o.N, "curvatures and rows differ in number");
            need_rows(st, o.N, "curvatures and rows differ in number");
            need_rows(tt, o.N, "curvatures and rows differ in number");
            const auto g = o.grads(dw, offset, residual, split, shift, db, end - begin);
            nb::gil_scoped_release release;
            need_valid(xent::sparse_hvp(kernels<T>(level), sparse<T, I>(level, lanes), p, v.data(), data(vb), l,
                                        {data(ss), data(st), data(tt)}, g),
                       D);
        },
        XENT_CSR_ARGS, XENT_LAYER_ARGS, nb::arg("v").noconvert(), "vb"_a.none(), "slope_s"_a, "slope_t"_a, "slope_u"_a,
        "ss"_a.none(), "st"_a.none(), "tt"_a.none(), XENT_GRAD_ARGS);

    // dw of one block of columns, from rows [begin, end) whose residuals and blocks a call before has left. x must not
    // have changed since.
    m.def(
        "sparse_add_block",
        [](size_t level, Start start, Index column, Value value, size_t D, Label label, Weight weight, size_t K,
           size_t lanes, Vector<const T> residual, Matrix<const uint32_t> split, int shift, Matrix<T> dw, size_t block,
           size_t begin, size_t end) {
            const Operands<T, I> o(level, start, column, value, D, label, weight, K, lanes);
            need_range(begin, end, o.N);
            o.check_blocks(residual, split, shift, end - begin);
            need(block < split.shape(1) - 1, "no such block");
            const auto to = o.columns(dw, 0);
            nb::gil_scoped_release release;
            sparse<T, I>(level, lanes)
                .scatter_block(o.x, o.kept, residual.data(), o.pair ? 1 : K, to, o.blocks(split, shift), block, begin,
                               end);
        },
        XENT_CSR_ARGS, nb::arg("residual").noconvert(), nb::arg("split").noconvert(), "shift"_a,
        nb::arg("dw").noconvert(), "block"_a, "begin"_a, "end"_a);
}

template <class T, class I> void bind_moments(nb::module_& m) {
    m.def(
        "column_moments",
        [](size_t level, Vector<const int64_t> start, Vector<const I> column, Vector<const T> value,
           Vector<const double> weight, Matrix<double> out, size_t begin, size_t end) {
            const size_t N = weight.shape(0), D = out.shape(0);
            need(start.shape(0) == N + 1 && column.shape(0) == value.shape(0), "start, columns and values do not fit");
            need(out.shape(1) == 2, "a column has two moments");
            need_range(begin, end, N);
            const xent::Csr<T, I> x{start.data(), column.data(), value.data(), ptrdiff_t(D), int64_t(value.shape(0))};
            nb::gil_scoped_release release;
            if constexpr (sizeof(I) == 4)
                need_valid(kernels<T>(level).column_moments32(x, weight.data(), begin, end, out.data()), D);
            else need_valid(kernels<T>(level).column_moments64(x, weight.data(), begin, end, out.data()), D);
        },
        "level"_a, "start"_a, nb::arg("column").noconvert(), nb::arg("value").noconvert(),
        nb::arg("weight").noconvert(), nb::arg("out").noconvert(), "begin"_a, "end"_a);
}

template <class T> void bind_columns(nb::module_& m) {
    m.def(
        "to_columns",
        [](size_t level, Matrix<const T> w, Matrix<T> out, size_t first, size_t last) {
            const size_t K = w.shape(0), D = w.shape(1);
            need(out.shape(0) == D && out.shape(1) >= K && first <= last && last <= D, "columns have another size");
            nb::gil_scoped_release release;
            kernels<T>(level).to_columns(w.data(), K, D, out.data(), out.shape(1), first, last);
        },
        "level"_a, nb::arg("w").noconvert(), nb::arg("columns").noconvert(), "first"_a, "last"_a);

    m.def(
        "from_columns",
        [](size_t level, nb::ndarray<const T, nb::ndim<3>, nb::c_contig, nb::device::cpu> parts, size_t offset,
           Matrix<T> dw, size_t first, size_t last) {
            const size_t K = dw.shape(0), D = dw.shape(1), stride = parts.shape(2);
            need(parts.shape(1) == D && stride >= offset + K && first <= last && last <= D,
                 "columns have another size");
            nb::gil_scoped_release release;
            kernels<T>(level).from_columns(parts.data() + offset, parts.shape(0), D * stride, stride, dw.data(), K, D,
                                           first, last);
        },
        "level"_a, nb::arg("parts").noconvert(), "offset"_a, nb::arg("dw").noconvert(), "first"_a, "last"_a);
}

}  // namespace

void bind_sparse(nb::module_& m) {
    bind<float, int32_t>(m);
    bind<float, int64_t>(m);
    bind<double, int32_t>(m);
    bind<double, int64_t>(m);
    bind_moments<float, int32_t>(m);
    bind_moments<float, int64_t>(m);
    bind_moments<double, int32_t>(m);
    bind_moments<double, int64_t>(m);
    bind_columns<float>(m);
    bind_columns<double>(m);
}
