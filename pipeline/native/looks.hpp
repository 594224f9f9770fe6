// What is looked at in a layer's signals.
#pragma once
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"

// Settings that are part of a probe's definition come from pipeline/probes.
extern "C" struct Look {
    const float *thresholds;  // of z, count of them
    int32_t count, parts;     // parts: a divisor of the samples, in which units are compared
    float middle;
    double varies, apart;  // units that vary, by more than `varies` of their size, may be copies if they are not
                           // further than `apart` from each other, once centred and of norm 1, up to the sign
    double *found;  // (FIELDS + count, members, units): low, high, mean, variance, mean |a|, mean |a - middle|, mean
                    // slope, then for each threshold on how many samples z is above it
    uint8_t *may_copy;  // (members)
};

constexpr int FIELDS = 7;

// Samples after samples, rows apart.
struct Signal {
    const float *at;
    int64_t stride;
};

// Looks at one member after the other.
class Looker {
public:
    Looker(int64_t samples, int64_t units, const Look &what);
    // z, a and the slopes, which may be null: of member m of so many.
    void at(Signal z, Signal a, Signal slope, int64_t m, int64_t members);

private:
    int64_t samples_, units_;
    int wide_;
    Look what_;
    Buffer block_, places_, own_;
    Doubles above_;
    Buffer gram_, squares_;
    std::vector<char> varies_;
};
