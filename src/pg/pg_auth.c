#include "pg/pg_auth.h"
