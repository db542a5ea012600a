// Arrays that come in from Python: what they must be, or a ValueError before a byte is touched.
#pragma once

#include "kernels.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <type_traits>

namespace gcnsys {

namespace nb = nanobind;

using Array = nb::ndarray<nb::device::cpu>;
using Offered = std::optional<Array>;

[[noreturn]] inline void refuse(const std::string& sentence) { throw nb::value_error(sentence.c_str()); }

template <class T>
bool holds(const Array& array) {
    if constexpr (std::is_same_v<T, bfloat16>)
        return array.dtype() == nb::dlpack::dtype{std::uint8_t(nb::dlpack::dtype_code::Bfloat), 16, 1};
    else
        return array.dtype() == nb::dtype<T>();
}

// Vectors load from anywhere, single numbers only from where their type may lie.
template <class T>
T* aligned(const Array& array, const char* name) {
    void* data = const_cast<void*>(array.data());
    if (reinterpret_cast<std::uintptr_t>(data) % alignof(T))
        refuse(std::string(name) + " must be aligned to " + std::to_string(alignof(T)) + " bytes");
    return static_cast<T*>(data);
}

// How long a vector is; -1, which none has: it is no vector.
inline std::int64_t length(const Array& array) { return array.ndim() == 1 ? std::int64_t(array.shape(0)) : -1; }

// A contiguous vector of `size` numbers of type T, or null if none was offered.
template <class T>
T* vector(const Offered& offered, std::int64_t size, const char* name) {
    if (!offered) return nullptr;
    const Array& array = *offered;
    if (!holds<T>(array)) refuse(std::string(name) + " has the wrong dtype");
    if (array.ndim() != 1 || std::int64_t(array.shape(0)) != size)
        refuse(std::string(name) + " must have shape [" + std::to_string(size) + "]");
    if (size > 1 && array.stride(0) != 1) refuse(std::string(name) + " must be contiguous");
    return aligned<T>(array, name);
}

// Rows of a matrix; columns must be next to each other, rows may lie apart.
template <class T>
T* matrix(const Array& array, std::int64_t rows, std::int64_t& width, std::int64_t& stride, const char* name) {
    if (!holds<T>(array)) refuse(std::string(name) + " has the wrong dtype");
    if (array.ndim() != 2) refuse(std::string(name) + " must have two dimensions");
    if (rows >= 0 && std::int64_t(array.shape(0)) != rows)
        refuse(std::string(name) + " must have " + std::to_string(rows) + " rows, got " +
               std::to_string(array.shape(0)));
    if (width >= 0 && std::int64_t(array.shape(1)) != width)
        refuse(std::string(name) + " must have " + std::to_string(width) + " columns, got " +
               std::to_string(array.shape(1)));
    width = std::int64_t(array.shape(1));
    if (array.shape(0) == 0 || width == 0) {  // strides of nothing mean nothing
        stride = width;
        return aligned<T>(array, name);
    }
    if (width > 1 && array.stride(1) != 1) refuse(std::string(name) + " must have contiguous rows");
    stride = array.shape(0) > 1 ? array.stride(0) : width;
    if (stride < width) refuse(std::string(name) + " must not have overlapping rows");
    return aligned<T>(array, name);
}

// The same for an array that must be there, its rows one after the other.
template <class T>
T* packed(const Array& array, std::int64_t rows, std::int64_t& width, const char* name) {
    std::int64_t stride = 0;
    T* data = matrix<T>(array, rows, width, stride, name);
    if (stride != width) refuse(std::string(name) + " must be contiguous");
    return data;
}

// Calls `use` with a stored number and the one it is summed in, by the dtype of x.
template <class Use>
void by_dtype(const Array& x, Use use) {
    if (holds<float>(x)) use(float(), float());
    else if (holds<double>(x)) use(double(), double());
    else if (holds<bfloat16>(x)) use(bfloat16(), float());
    else refuse("x must be float32, float64 or bfloat16");
}

void bind_rows(nb::module_& m);

}  // namespace gcnsys
