#include "pg/pg_wire.h"
