/* What an event belongs to: the `user` of a ring_id, or of a job, points at one of these, the first member of its owner.
 * Depends on nothing. */
#ifndef RM_SERVER_OWNER_H
#define RM_SERVER_OWNER_H

struct owner {
    enum owner_kind { OWNER_LISTENER, OWNER_CONN, OWNER_WATCH, OWNER_OFFLOAD, OWNER_DB, OWNER_DB_CANCEL } kind;
};

#endif
