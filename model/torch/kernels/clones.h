#ifndef LEAPSTREAM_MODEL_TORCH_KERNELS_CLONES_H_
#define LEAPSTREAM_MODEL_TORCH_KERNELS_CLONES_H_

// Compiles a function for several processors; the dynamic linker takes the best one at start. What it
// calls must be LEAPSTREAM_INLINE, or it is compiled for the least of them.
#if defined(LEAPSTREAM_CLONES) && defined(__GNUC__) && !defined(__clang__)
#define LEAPSTREAM_PER_PROCESSOR \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define LEAPSTREAM_PER_PROCESSOR
#endif
#define LEAPSTREAM_INLINE inline __attribute__((always_inline))

#endif  // LEAPSTREAM_MODEL_TORCH_KERNELS_CLONES_H_
