// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The differences to ext4 that the differ lets pass, each with the reason why no program may rely on what
// ext4 does there. INVARIANT: as narrow as the case that was looked at, and in the table of docs/semantics.md
// as well; whatever is not here is a bug of ours. Pure.
#pragma once

#include "test/e2e/differ_subject.h"

namespace cairn::e2e {

struct AllowedDifference {
  const char* what;
  const char* why;
};

const AllowedDifference* allowedDifference(const Step& step, const Answer& local, const Answer& cairn);
// Null: none of them is it.

}  // namespace cairn::e2e
