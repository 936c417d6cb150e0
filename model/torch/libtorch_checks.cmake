# leapstream_check_libtorch(INCLUDE_DIR C10_LIBRARY VERSION STANDARD): sets VERSION to LibTorch's version, and STANDARD to
# the C++ standard of its headers. It is a fatal error if our programs cannot load such a LibTorch.
function(leapstream_check_libtorch include_dir c10_library version standard)
  set(text "")
  foreach(file IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(EXISTS ${include_dir}/${file})
      file(STRINGS ${include_dir}/${file} lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
      string(APPEND text "${lines}")
    endif()
  endforeach()
  if(NOT text MATCHES "MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+)")
    message(FATAL_ERROR "expected LibTorch's version in version.h below ${include_dir}/torch, found none")
  endif()
  set(found ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
  if(found VERSION_LESS 1.13)
    message(FATAL_ERROR "leapstream needs LibTorch 1.13 or later; ${include_dir} has ${found}")
  endif()
  # Strings cross the border to LibTorch, so both sides must have the standard library's newer ones. c10::Device has a
  # constructor that takes one.
  file(STRINGS ${c10_library} newer REGEX "DeviceC[12]E.*NSt7__cxx1112basic_string" LIMIT_COUNT 1)
  if(NOT newer)
    message(FATAL_ERROR
      "${c10_library} (LibTorch ${found}) was built with _GLIBCXX_USE_CXX11_ABI=0, and the system's gRPC and abseil are "
      "not; take a wheel of PyTorch 2.7 or later, LibTorch's archive named cxx11-abi, or the system's LibTorch")
  endif()
  set(wanted 17)
  file(STRINGS ${include_dir}/ATen/ATen.h newer REGEX "__cplusplus < 202002L" LIMIT_COUNT 1)
  if(newer)
    set(wanted 20)
  endif()
  set(${version} ${found} PARENT_SCOPE)
  set(${standard} ${wanted} PARENT_SCOPE)
endfunction()
