// Vectors of as many doubles as fill a register, and of the floats that they are made of.
#pragma once
#include "kernels.hpp"

constexpr int DL = VL / 2;

typedef double vd __attribute__((vector_size(DL * 8), aligned(8), may_alias));
typedef int64_t vl __attribute__((vector_size(DL * 8), aligned(8), may_alias));
typedef float vh __attribute__((vector_size(DL * 4), aligned(4), may_alias));

static inline vd &at(double *p) { return *reinterpret_cast<vd *>(p); }
static inline vd at(const double *p) { return *reinterpret_cast<const vd *>(p); }
static inline vd widened(const float *p) { return __builtin_convertvector(*reinterpret_cast<const vh *>(p), vd); }
static inline double total(vd x) {
    double sum = 0.0;
    for (int j = 0; j < DL; ++j) sum += x[j];
    return sum;
}
static inline vd pick(vl mask, vd yes, vd no) {
    return mask ? yes : no;
}
