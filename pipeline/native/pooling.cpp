// Rectification and 2 x 2 max pooling in one pass, of images whose channels lie side by side.
#include <algorithm>

#include "kernels.hpp"

namespace {

// Channels that are handled at once. As template arguments the vectors would lose that they may lie anywhere.
struct Many {
    typedef vf Floats;
    typedef vi Numbers;
};
struct One {
    typedef float Floats;
    typedef int32_t Numbers;
};

// Which of four pixels is the largest, channel by channel; like torch the first of equal ones, and NaN before all.
// Where none is above 0, no pixel has part in the 0 that comes out: their number is 4.
template <class Channels>
void pool(const float *z, int64_t right, int64_t down, float *a, int32_t *from) {
    using F = typename Channels::Floats;
    using I = typename Channels::Numbers;
    const float *pixels[] = {z, z + right, z + down, z + down + right};
    F best = *(const F *)z;
    I which = I{};
    for (int k = 1; k < 4; ++k) {
        const F v = *(const F *)pixels[k];
        const auto better = (v > best) | (v != v);
        best = better ? v : best;
        which = better ? I{} + k : which;
    }
    const auto shut = best <= F{};
    *(F *)a = shut ? F{} : best;
    *(I *)from = shut ? I{} + 4 : which;
}

template <class Channels>
void spread(const float *slope, const int32_t *from, int64_t right, int64_t down, float *z) {
    using F = typename Channels::Floats;
    using I = typename Channels::Numbers;
    float *pixels[] = {z, z + right, z + down, z + down + right};
    const F s = *(const F *)slope;
    const I which = *(const I *)from;
    for (int k = 0; k < 4; ++k) *(F *)pixels[k] = which == I{} + k ? s : F{};
}

}  // namespace

extern "C" {

// z: (images, height, width, channels). a, from: (images, height / 2, width / 2, channels), the largest of each four
// pixels or 0, and which it was.
int rectify_and_pool(const float *z, int64_t images, int64_t height, int64_t width, int64_t channels, float *a,
                     int32_t *from) {
    const int64_t down = width * channels;
    for (int64_t n = 0; n < images; ++n) {
        for (int64_t i = 0; i + 1 < height; i += 2) {
            const float *row = z + (n * height + i) * down;
            for (int64_t j = 0; j + 1 < width; j += 2, row += 2 * channels, a += channels, from += channels) {
                int64_t c = 0;
                for (; c + VL <= channels; c += VL) pool<Many>(row + c, channels, down, a + c, from + c);
                for (; c < channels; ++c) pool<One>(row + c, channels, down, a + c, from + c);
            }
        }
    }
    return 0;
}

// The gradient by z, of all its pixels, from that by a.
int rectify_and_pool_backward(const float *slope, const int32_t *from, int64_t images, int64_t height, int64_t width,
                              int64_t channels, float *z) {
    const int64_t down = width * channels;
    for (int64_t n = 0; n < images; ++n) {
        for (int64_t i = 0; i + 1 < height; i += 2) {
            float *row = z + (n * height + i) * down, *pixel = row;
            for (int64_t j = 0; j + 1 < width; j += 2, pixel += 2 * channels, slope += channels, from += channels) {
                int64_t c = 0;
                for (; c + VL <= channels; c += VL) spread<Many>(slope + c, from + c, channels, down, pixel + c);
                for (; c < channels; ++c) spread<One>(slope + c, from + c, channels, down, pixel + c);
            }
            if (width % 2) {  // the last column is in no four pixels
                std::fill_n(row + down - channels, channels, 0.0f);
                std::fill_n(row + 2 * down - channels, channels, 0.0f);
            }
        }
        if (height % 2) std::fill_n(z + ((n + 1) * height - 1) * down, down, 0.0f);
    }
    return 0;
}

}  // extern "C"
