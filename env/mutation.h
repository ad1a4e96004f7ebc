// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Mutants: known mistakes that a test can switch on, to show that the simulator would find them. Only the
// files that have one are compiled a second time, with CAIRN_MUTANTS, for test/sim/cluster/mutants_test.cc;
// in every program each question below is the constant false, and nothing of a mutant is left.
#pragma once

#include <cstdint>

namespace cairn {

enum class Mutant : uint8_t {
  NONE,
  KEEP_FLOOR,      // a version is confirmed in words only: replicas that were left behind count still
  SKIP_RECONCILE,  // replicas that have adopted a version are taken for equal
  ANSWER_BEFORE_THE_OTHERS,  // a primary says yes whatever its secondaries say
  DELETE_BY_HANDLE,          // a replica goes whatever its version
  SYNC_IN_ANY_BOOT,          // a sync counts although the machine has restarted since the write
  NO_CLOCK_MARGIN,           // what a mount caches is taken to be over when its term is, by our clock
};

#ifdef CAIRN_MUTANTS
inline Mutant mutant = Mutant::NONE;
inline bool isMutant(Mutant which) {
  return mutant == which;
}
#else
constexpr bool isMutant(Mutant) {
  return false;
}
#endif

}  // namespace cairn
