// What the parts of the binding share: array types, and the checks of shapes before a kernel sees them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace nb = nanobind;
using namespace nb::literals;

template <class T> using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Maybe = std::optional<T>;

// Rows in float or in double.
using Features = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyMatrix = nb::ndarray<nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Where its numbers are, if they are of this type.
template <class T, class A> T* stored(const A& a) {
    return a.dtype() == nb::dtype<std::remove_const_t<T>>() ? (T*)a.data() : nullptr;
}

// The levels that this machine can run, best first.
const std::vector<const xent::Level*>& levels();

inline const xent::Level& level_at(size_t level) {
    if (level >= levels().size()) throw std::out_of_range("no such level on this machine");
    return *levels()[level];
}

template <class T> const xent::Kernels<T>& kernels(size_t level) {
    if constexpr (sizeof(T) == 4) return *level_at(level).f32;
    else return *level_at(level).f64;
}

template <class A> auto data(const Maybe<A>& a) -> decltype(a->data()) {
    return a ? a->data() : nullptr;
}

inline void need(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

inline void need_range(size_t begin, size_t end, size_t N) { need(begin <= end && end <= N, "rows are out of range"); }

template <class A> void need_rows(const Maybe<A>& a, size_t N, const char* what) { need(!a || a->shape(0) == N, what); }

template <class T>
xent::Target<T> target(const Maybe<Vector<const int64_t>>& label, const Maybe<Matrix<const T>>& probs, size_t N,
                       size_t K) {
    need(label || probs, "a target needs labels, probabilities or both");
    need_rows(label, N, "labels and rows differ in number");
    need(!probs || (probs->shape(0) == N && probs->shape(1) == K), "probabilities and logits differ in shape");
    return {data(label), data(probs)};
}

// Labels too large for K classes. It reads all of them: without the lock of the interpreter.
inline void check_labels(size_t level, const int64_t* label, size_t begin, size_t end, size_t K) {
    need(!label || level_at(level).largest(label + begin, end - begin) < (int64_t)K, "a label is out of range");
}

using Column = Vector<double>;
using ConstColumn = Vector<const double>;

inline xent::Stats stats(const Column& m, const Column& s, const Column& t, const Maybe<Column>& u, size_t N) {
    need(m.shape(0) == N && s.shape(0) == N && t.shape(0) == N, "statistics and rows differ in number");
    need_rows(u, N, "statistics and rows differ in number");
    return {m.data(), s.data(), t.data(), data(u)};
}

inline xent::Stats given(const ConstColumn& m, const ConstColumn& s, size_t N) {
    need(m.shape(0) == N && s.shape(0) == N, "statistics and rows differ in number");
    return {const_cast<double*>(m.data()), const_cast<double*>(s.data()), nullptr, nullptr};
}

inline xent::Slopes slopes(const ConstColumn& s, const ConstColumn& t, const ConstColumn& u, const Maybe<ConstColumn>& weight,
                    size_t N, bool one) {
    const size_t n = one ? 1 : N;
    need(s.shape(0) == n && t.shape(0) == n && u.shape(0) == n, "slopes and rows differ in number");
    need_rows(weight, N, "weights and rows differ in number");
    return {s.data(), t.data(), u.data(), one ? 0 : 1, data(weight)};
}

inline void need_valid(ptrdiff_t bad, int64_t D) {
    if (bad < 0) return;
    throw std::invalid_argument("row " + std::to_string(bad) + " of the sparse x does not lie within its " +
                                std::to_string(D) + " columns and its nonzeros");
}

using Label = Maybe<Vector<const int64_t>>;
template <class T> using Probs = Maybe<Matrix<const T>>;
template <class T> using Bias = Maybe<Vector<const T>>;
using Weight = Maybe<ConstColumn>;

// Each adds its functions to the module, for float and for double.
void bind_rows(nb::module_& m);
void bind_linear(nb::module_& m);
void bind_hvp(nb::module_& m);
void bind_sparse(nb::module_& m);
void bind_working(nb::module_& m);
void bind_descend(nb::module_& m);
void bind_gram(nb::module_& m);
void bind_triangle(nb::module_& m);
