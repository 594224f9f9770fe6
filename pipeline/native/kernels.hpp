// Vectors, elementwise functions and one matrix product, for any CPU that GCC or Clang
// can vectorise for. Every output element of the product is one sum in the order of its
// index, so that its bits don't depend on where it lies nor on the tile it falls into.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int VL = 16, TILE_ROWS = 6, TILE_VECTORS = 4;
#elif defined(__AVX2__)
constexpr int VL = 8, TILE_ROWS = 6, TILE_VECTORS = 2;
#else
constexpr int VL = 4, TILE_ROWS = 6, TILE_VECTORS = 2;
#endif

typedef float vf __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VL * 4), aligned(4), may_alias));

static inline vf load(const float *p) { return *reinterpret_cast<const vf *>(p); }
static inline void store(float *p, vf v) { *reinterpret_cast<vf *>(p) = v; }
// Less 0, which is s for every s: vf{} + s would turn -0 into 0, so that compilers must add, on the ports that multiply.
static inline vf all(float s) { return s - vf{}; }
static inline vf pick(vi mask, vf yes, vf no) { return mask ? yes : no; }
static inline vf magnitude(vf x) { return reinterpret_cast<vf>(reinterpret_cast<vi>(x) & 0x7fffffff); }
// NaN stays NaN in all three.
static inline vf at_most(vf x, float top) { return pick(x > all(top), all(top), x); }
static inline vf at_least(vf x, float low) { return pick(x < all(low), all(low), x); }
static inline vf clamp(vf x, float low, float top) { return at_least(at_most(x, top), low); }

// No inf, no NaN: either makes a NaN of 0 times it, which any sum keeps.
static inline bool all_finite(const float *p, int64_t n) {
    vf sums[4] = {};
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int k = 0; k < 4; ++k) sums[k] += load(p + i + k * VL) * 0.0f;
    float rest = 0.0f;
    for (; i < n; ++i) rest += p[i] * 0.0f;
    const vf sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int j = 0; j < VL; ++j) rest += sum[j];
    return rest == 0.0f;
}

static inline int padded(int n) { return (n + VL - 1) / VL * VL; }

// exp by 2^n times the polynomial of Cephes' expf; below the range 0.
static inline vf vexp(vf x) {
    const vi under = x < all(-87.0f);
    x = clamp(x, -87.0f, 88.3f);
    const vf shifted = x * 1.44269504088896341f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
    const vi n = reinterpret_cast<vi>(shifted) - 0x4b400000;
    const vf whole = shifted - 12582912.0f;
    vf r = x - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const vf scaled = p * reinterpret_cast<vf>((n + 127) << 23);
    return pick(under, vf{}, pick(x == x, scaled, x));
}

// tanh by the rational function that Eigen and XLA use: x P(x^2) / Q(x^2), exact in sign and
// in relative terms for tiny x.
static inline vf vtanh(vf z) {
    const vf x = clamp(z, -7.90531110763549805f, 7.90531110763549805f);
    const vf u = x * x;
    vf p = u * -2.76076847742355e-16f + 2.00018790482477e-13f;
    p = p * u + -8.60467152213735e-11f;
    p = p * u + 5.12229709037114e-08f;
    p = p * u + 1.48572235717979e-05f;
    p = p * u + 6.37261928875436e-04f;
    p = p * u + 4.89352455891786e-03f;
    vf q = u * 1.19825839466702e-06f + 1.18534705686654e-04f;
    q = q * u + 2.26843463243900e-03f;
    q = q * u + 4.89352518554385e-03f;
    return clamp(x * (p / q), -1.0f, 1.0f);
}

// erf by XLA's rational function, on |x| < 3.8325; +-1 beyond.
static inline vf verf(vf z) {
    const vf x = clamp(z, -3.832506856900711f, 3.832506856900711f);
    const vf u = x * x;
    vf p = u * 2.2905065861350646e-4f + 3.4082910107109506e-3f;
    p = p * u + 5.0955695062380861e-2f;
    p = p * u + 1.8520832239976145e-1f;
    p = p * u + 1.128379143519084f;
    vf q = u * -1.1791602954361697e-7f + 2.3547966471313185e-5f;
    q = q * u + 1.0179625278914885e-3f;
    q = q * u + 1.4070470171167667e-2f;
    q = q * u + 1.1098505178285362e-1f;
    q = q * u + 4.9746925110067538e-1f;
    q = q * u + 1.0f;
    const vf inside = clamp(x * (p / q), -1.0f, 1.0f);
    return pick(z > x, all(1.0f), pick(z < x, all(-1.0f), inside));
}

// Activations: value and slope at z.
struct Value { vf a, slope; };
static inline Value phi(int kind, vf z) {
    switch (kind) {
    case 0: { const vf a = vtanh(z); return {a, 1.0f - a * a}; }
    case 1: { const vf a = 1.0f / (1.0f + vexp(-z)); return {a, a * (1.0f - a)}; }
    case 2: { const vi on = z > vf{}; return {pick(on, z, pick(z == z, vf{}, z)), pick(on, all(1.0f), vf{})}; }
    case 3: {
        const vf half = 0.5f * (1.0f + verf(z * 0.70710678118654752f));
        return {z * half, half + z * (0.39894228040143268f * vexp(-0.5f * (z * z)))};
    }
    default: { const vf r = 1.0f / (1.0f + magnitude(z)); return {z * r, r * r}; }
    }
}

// C (M x N) = start + sum_p a(i, p) b(p, j), with a(i, p) = a[i * rows + p * cols]; rows of start lie `step` apart.
template <int MR, int NV>
static inline void tile(const float *a, long rows, long cols, const float *b, long ldb, int depth, const float *start,
                        long step, float *c, long ldc) {
    vf sum[MR][NV];
    for (int i = 0; i < MR; ++i)
        for (int v = 0; v < NV; ++v) sum[i][v] = start ? load(start + i * step + v * VL) : vf{};
    for (int p = 0; p < depth; ++p) {
        vf row[NV];
        for (int v = 0; v < NV; ++v) row[v] = load(b + p * ldb + v * VL);
        for (int i = 0; i < MR; ++i) {
            const vf left = all(a[i * rows + p * cols]);
            for (int v = 0; v < NV; ++v) sum[i][v] += left * row[v];
        }
    }
    for (int i = 0; i < MR; ++i)
        for (int v = 0; v < NV; ++v) store(c + i * ldc + v * VL, sum[i][v]);
}

// Rows of C in tiles of MR, then of halves of it.
template <int MR, int NV>
static inline int tiles(int i, int M, const float *a, long rows, long cols, const float *b, long ldb, int depth,
                        const float *start, long step, float *c, long ldc) {
    for (; i + MR <= M; i += MR)
        tile<MR, NV>(a + i * rows, rows, cols, b, ldb, depth, start ? start + i * step : nullptr, step, c + i * ldc, ldc);
    if constexpr (MR > 1) return tiles<MR / 2, NV>(i, M, a, rows, cols, b, ldb, depth, start, step, c, ldc);
    return i;
}

// N is a multiple of VL; start is what the rows of C begin with, or null for zeros. By default all begin alike; C
// itself may be its start.
static void product(int M, int N, int depth, const float *a, long rows, long cols, const float *b, long ldb,
                    const float *start, float *c, long ldc, long step = 0) {
    int j = 0;
    for (; j + TILE_VECTORS * VL <= N; j += TILE_VECTORS * VL)
        tiles<TILE_ROWS, TILE_VECTORS>(0, M, a, rows, cols, b + j, ldb, depth, start ? start + j : nullptr, step, c + j,
                                       ldc);
    for (; j < N; j += VL)
        tiles<2 * TILE_ROWS, 1>(0, M, a, rows, cols, b + j, ldb, depth, start ? start + j : nullptr, step, c + j, ldc);
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES 1
#endif
#endif

#ifdef SHUFFLES
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

// out (8 x 8) = in transposed.
static inline void transpose8(const float *in, long ldi, float *out, long ldo) {
    v8 r[8], s[8];
    for (int i = 0; i < 8; ++i) r[i] = *reinterpret_cast<const v8 *>(in + i * ldi);
    for (int i = 0; i < 8; i += 2) {
        s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; ++k) {
            r[i + k] = __builtin_shufflevector(s[i + k], s[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            r[i + k + 2] = __builtin_shufflevector(s[i + k], s[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; ++i) {
        s[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        s[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < 8; ++i) *reinterpret_cast<v8 *>(out + i * ldo) = s[i];
}
#endif

// out (cols x rows, leading dimension ldo) = in (rows x cols, leading dimension ldi) transposed.
static void transpose(int rows, int cols, const float *in, long ldi, float *out, long ldo) {
    constexpr int B = 8;
    for (int i = 0; i < rows; i += B)
        for (int j = 0; j < cols; j += B) {
            const int m = rows - i < B ? rows - i : B, n = cols - j < B ? cols - j : B;
            const float *from = in + i * ldi + j;
            float *to = out + j * ldo + i;
#ifdef SHUFFLES
            if (m == B && n == B) {
                transpose8(from, ldi, to, ldo);
                continue;
            }
#endif
            for (int q = 0; q < n; ++q)
                for (int p = 0; p < m; ++p) to[q * ldo + p] = from[p * ldi + q];
        }
}
