#ifndef LEAPSTREAM_MODEL_API_HALF_H_
#define LEAPSTREAM_MODEL_API_HALF_H_

#include <cmath>
#include <cstdint>
#include <cstring>

namespace leapstream {

// The value of an IEEE 754 binary16 number, given by its bits. C++17 has no type for such numbers.
inline float HalfToFloat(uint16_t half) {
  // Exponent and mantissa move to the places that they have in a float. The number is then too
  // small by a factor of 2^112, also if it is subnormal.
  const uint32_t moved = static_cast<uint32_t>(half & 0x7fff) << 13;
  float value;
  std::memcpy(&value, &moved, sizeof(value));
  value *= 0x1p112f;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((half & 0x7c00) == 0x7c00) bits |= 0x7f800000;  // Infinite, or NaN.
  bits |= static_cast<uint32_t>(half & 0x8000) << 16;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Rounds to nearest, ties to even; a value that is too large becomes infinite.
inline uint16_t FloatToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint16_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return sign | 0x7e00;   // NaN.
  if (bits >= 0x477ff000) return sign | 0x7c00;  // 65520 rounds up to infinity.
  if (bits < 0x38800000) {                       // Below 2^-14 halves are multiples of 2^-24.
    return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(std::fabs(value), 24)));
  }
  bits += 0xfff + (bits >> 13 & 1);
  return sign | static_cast<uint16_t>((bits - 0x38000000) >> 13);
}

// The value of a bfloat16 number, given by its bits: the upper half of a float's.
inline float Bfloat16ToFloat(uint16_t bits) {
  const uint32_t widened = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &widened, sizeof(value));
  return value;
}

// The nearest bfloat16, ties to even; infinities and NaN stay.
inline float RoundToBfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7f800000) != 0x7f800000) bits += 0x7fff + (bits >> 16 & 1);
  bits &= 0xffff0000;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_HALF_H_
