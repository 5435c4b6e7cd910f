"""The families of models that Assay reads, as one table.

A row (`Family`) says which fields a config.json may have, which tensors the model has, what a token
sees, and what follows the output matrix. The gate, the memory plan, the specification and the tests
read the same rows.
"""

from assay.inference.families.family import CHOSEN as CHOSEN
from assay.inference.families.family import Config as Config
from assay.inference.families.family import Experts as Experts
from assay.inference.families.family import Family as Family
from assay.inference.families.family import Finish as Finish
from assay.inference.families.family import Mask as Mask
from assay.inference.families.family import Tensors as Tensors
from assay.inference.families.fit import EMBEDDING as EMBEDDING
from assay.inference.families.fit import FAMILIES as FAMILIES
from assay.inference.families.fit import HEAD as HEAD
from assay.inference.families.fit import count_products as count_products
from assay.inference.families.fit import count_tensors as count_tensors
from assay.inference.families.fit import find_config_fault as find_config_fault
from assay.inference.families.fit import find_misfit as find_misfit
from assay.inference.families.fit import find_type_fault as find_type_fault
from assay.inference.families.fit import get_expert_bounds as get_expert_bounds
from assay.inference.families.fit import is_tied as is_tied
from assay.inference.families.fit import list_fields as list_fields
from assay.inference.families.refused import REFUSED as REFUSED
from assay.inference.families.refused import SEEING as SEEING
