-- Variants of a trunk: a builder belongs to one, beside its platform.

-- The variant as the configuration names it; empty for the default build, whatever that is called.
alter table builder add column variant text not null default '';
-- What pages and mails call it; null where a trunk has the default build only.
alter table builder add column variant_name text;

drop index builder_suite;
-- `breakage_share`, `rarely_run` and `put_builder`; a suite has one builder on a branch, platform and variant.
create unique index builder_suite on builder (branch_id, platform_id, project_id, variant) where kind = 'suite';
drop index builder_toolchain;
-- `put_builder`: a branch, platform and variant have one toolchain builder.
create unique index builder_toolchain on builder (branch_id, platform_id, variant) where kind = 'toolchain';
-- `breakage_variants`: the builders of one project, on one branch and platform.
create index builder_by_place on builder (branch_id, platform_id, project_id);

-- The name of the only variant that a mark is for; null for all.
alter table mark add column variant text;
