"""How an installation is deployed and watched. No part of what runs."""
