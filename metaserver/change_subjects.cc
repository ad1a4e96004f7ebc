// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See change_subjects.h.
#include "metaserver/change_subjects.h"

#include <algorithm>

namespace cairn {

namespace {

constexpr uint32_t EXCHANGE = 2;  // of rename's flags

void addNamed(ChangeSubjects& subjects, InodeId parent, kj::StringPtr name, const NamespaceReader& names) {
  // The directory and what the name leads to; if there is no such name, it shall not appear meanwhile.
  subjects.inodes.add(parent);
  auto found = names.lookup(parent, name);
  if (found.ok()) subjects.inodes.add(found->inode);
}

}  // namespace

bool ChangeSubjects::cover(const ChangeSubjects& others) const {
  return std::all_of(others.inodes.begin(), others.inodes.end(), [&](InodeId inode) {
    return std::find(inodes.begin(), inodes.end(), inode) != inodes.end();
  });
}

ChangeSubjects subjectsOf(rpc::Change::Reader change, const NamespaceReader& names) {
  ChangeSubjects subjects;
  switch (change.which()) {
    case rpc::Change::CREATE: {
      auto create = change.getCreate();
      if (create.getTemporary()) break;
      InodeId parent(create.getParent());
      auto found = names.lookup(parent, create.getName());
      if (found.ok()) {
        subjects.existing = found->inode;
      } else {
        subjects.inodes.add(parent);
      }
      break;
    }
    case rpc::Change::LINK:
      subjects.inodes.add(InodeId(change.getLink().getInode()));
      subjects.inodes.add(InodeId(change.getLink().getParent()));
      break;
    case rpc::Change::UNLINK:
      addNamed(subjects, InodeId(change.getUnlink().getParent()), change.getUnlink().getName(), names);
      break;
    case rpc::Change::RMDIR:
      addNamed(subjects, InodeId(change.getRmdir().getParent()), change.getRmdir().getName(), names);
      break;
    case rpc::Change::RENAME: {
      auto rename = change.getRename();
      InodeId target(rename.getNewParent());
      addNamed(subjects, InodeId(rename.getParent()), rename.getName(), names);
      if (target != InodeId(rename.getParent())) subjects.inodes.add(target);
      auto replaced = names.lookup(target, rename.getNewName());
      if (replaced.ok()) subjects.inodes.add(replaced->inode);
      break;
    }
    case rpc::Change::SET_ATTRIBUTES:
      subjects.inodes.add(InodeId(change.getSetAttributes().getInode()));
      break;
    case rpc::Change::PUBLISH:
      subjects.inodes.add(InodeId(change.getPublish().getFile()));
      break;
    case rpc::Change::SET_XATTR:
      subjects.inodes.add(InodeId(change.getSetXattr().getOwner()));
      break;
    case rpc::Change::REMOVE_XATTR:
      subjects.inodes.add(InodeId(change.getRemoveXattr().getFrom()));
      break;
    case rpc::Change::PUNCH:
      subjects.inodes.add(InodeId(change.getPunch().getHollow()));
      break;
    case rpc::Change::SHARE:
      // Of the source for what its writer has not published yet.
      subjects.inodes.add(InodeId(change.getShare().getSource()));
      if (change.getShare().getTarget() != change.getShare().getSource())
        subjects.inodes.add(InodeId(change.getShare().getTarget()));
      break;
    case rpc::Change::ACCESSED:
      break;  // told when it is told
  }
  return subjects;
}

InodeId newParentOf(rpc::Change::Reader change) {
  if (!change.isRename()) return InodeId();
  auto rename = change.getRename();
  return rename.getParent() == rename.getNewParent() ? InodeId() : InodeId(rename.getNewParent());
}

InodeId loserOf(rpc::Change::Reader change, const Outcome& outcome, const NamespaceReader& names) {
  if (!change.isRename() || outcome.replaced) return outcome.replaced;
  auto rename = change.getRename();
  if (rename.getFlags() != EXCHANGE) return InodeId();
  auto other = names.lookup(InodeId(rename.getParent()), rename.getName());
  return other.ok() ? other->inode : InodeId();
}

kj::Vector<InodeId> touchedBy(rpc::Change::Reader change, const Outcome& outcome,
                              const ChangeSubjects& expected, const NamespaceReader& names) {
  kj::Vector<InodeId> touched;
  auto add = [&](InodeId inode) {
    if (inode && std::find(expected.inodes.begin(), expected.inodes.end(), inode) == expected.inodes.end())
      touched.add(inode);
  };
  InodeId subject;
  KJ_IF_MAYBE (attributes, outcome.attributes) subject = attributes->inode;
  if (change.isAccessed() || (expected.existing && subject == expected.existing)) return touched;
  add(subject);
  if (change.isCreate() && change.getCreate().getTemporary()) return touched;
  KJ_IF_MAYBE (parent, outcome.parent) add(parent->inode);
  add(newParentOf(change));
  add(loserOf(change, outcome, names));
  return touched;
}

}  // namespace cairn
