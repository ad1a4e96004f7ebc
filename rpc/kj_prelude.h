// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// KJ 0.9 in C++20: its `const char* == StringPtr` operators are left out where the compiler has three-way
// comparison, but compilers since P2468 do not derive them, and <capnp/blob.h> then fails to compile. This
// header, force-included by meson.build for KJ before 1.0 only, reads <kj/string.h> with those operators in.
// GCC 12 is from before P2468: it derives them, and with both would call itself for ever.
#pragma once

#if defined(__clang__) || __GNUC__ >= 13

#include <compare>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <type_traits>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wbuiltin-macro-redefined"
#pragma push_macro("__cpp_impl_three_way_comparison")
#undef __cpp_impl_three_way_comparison
#include <kj/string.h>
#pragma pop_macro("__cpp_impl_three_way_comparison")
#pragma GCC diagnostic pop

#endif
